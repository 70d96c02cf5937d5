package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// slowServer has one pool. It takes its time for a write, the cache hears of it later still, and every so many writes
// meet a conflict.
type slowServer struct {
	conflict int // which writes: each of so many, 0 for none
	heard    func()

	mu      sync.Mutex
	pool    clarion.IPAddressPool
	version int
	writes  int
}

const (
	writeTakes = 30 * time.Millisecond
	watchTakes = 20 * time.Millisecond
)

var errNoPatch = errors.New("not a patch of a pool's status")

type (
	slowCache struct {
		cache.Cache
		server *slowServer
	}
	slowClient struct {
		client.Client
		server *slowServer
	}
	slowStatus struct {
		client.SubResourceWriter
		server *slowServer
	}
)

func (c slowCache) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.pool.DeepCopyInto(o.(*clarion.IPAddressPool))
	return nil
}

// tells returns how many addresses the pool says are assigned.
func (s *slowServer) tells() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool.Status.IPv4 == nil {
		return 0
	}
	return int(s.pool.Status.IPv4.Assigned)
}

func (c slowClient) Status() client.SubResourceWriter { return slowStatus{server: c.server} }

func (w slowStatus) Patch(_ context.Context, o client.Object, p client.Patch, _ ...client.SubResourcePatchOption) error {
	s := w.server
	time.Sleep(writeTakes)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	body, err := p.Data(o)
	if err != nil {
		return err
	}
	var patch struct {
		Metadata struct{ ResourceVersion string }
		Status   json.RawMessage
	}
	if err := json.Unmarshal(body, &patch); err != nil || patch.Status == nil {
		return errNoPatch
	}
	if s.conflict > 0 && s.writes%s.conflict == 0 {
		return apierrors.NewConflict(schema.GroupResource{Resource: "ipaddresspools"}, s.pool.Name, errors.New("it was written in between"))
	}
	time.AfterFunc(watchTakes, func() {
		s.mu.Lock()
		if err := json.Unmarshal(patch.Status, &s.pool.Status); err != nil {
			panic(err)
		}
		s.version++
		s.pool.ResourceVersion = fmt.Sprint(s.version)
		s.mu.Unlock()
		s.heard()
	})
	return nil
}

// However many addresses come and go, without an end, a pool's numbers are at no moment older than promised, and are
// written about twice a second at most for it.
func TestAPoolsNumbersAreNeverOld(t *testing.T) {
	for name, tc := range map[string]struct {
		perSecond int
		conflict  int
		oldest    time.Duration
	}{
		"one change a second":                      {1, 0, time.Second},
		"ten changes a second":                     {10, 0, time.Second},
		"ten a second, every fourth write in vain": {10, 4, time.Second},
		"a hundred a second":                       {100, 0, 5 * time.Second},
		"a thousand a second":                      {1000, 0, 5 * time.Second},
		"a thousand a second, half writes in vain": {1000, 2, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := &slowServer{conflict: tc.conflict, pool: *somePool("10.0.0.0/8")}
				server.pool.Finalizers = []string{clarion.FinalizerAddressesInUse}
				tm := termWith(&cluster{cache: slowCache{server: server}, client: slowClient{server: server}}, poolOf(&server.pool))
				tm.o.Now = time.Now
				tm.poolGens["lab"] = versionOf(&server.pool)
				server.heard = func() { tm.poolChanged("lab") }
				ctx, cancel := context.WithCancel(t.Context())
				var worker sync.WaitGroup
				worker.Go(func() { work(ctx, tm.pools, tm.reconcilePool) })
				defer func() {
					for _, q := range []interface{ ShutDown() }{tm.services, tm.objects, tm.hushed} {
						q.ShutDown()
					}
				}()

				key := func(i int) ipam.Key { return ipam.Key{Namespace: "default", Name: fmt.Sprint(i)} }
				assign := func(i int) {
					tm.mu.Lock()
					defer tm.mu.Unlock()
					tm.ledger.Advance(time.Now())
					if d := tm.ledger.Assign(ipam.Request{Service: key(i), Families: []ipam.Family{ipam.IPv4}}); d.Outcome != ipam.Granted {
						t.Fatal(d.Message)
					}
					tm.ledger.Settle(key(i))
					tm.wakeLocked()
				}
				assign(0) // a pool that nobody uses has its finalizer taken away
				const lasts = 10 * time.Second
				pause := time.Second / time.Duration(tc.perSecond)
				at := []time.Time{{}, time.Now()} // when there came to be so many
				var worst time.Duration
				start := time.Now()
				for i := 1; time.Since(start) < lasts; i++ {
					time.Sleep(pause)
					assign(i)
					at = append(at, time.Now())
					if shown := server.tells(); shown < i { // then it is as old as the first that it does not tell of
						worst = max(worst, time.Since(at[shown+1]))
					}
				}
				cancel()
				tm.pools.ShutDown()
				worker.Wait()
				t.Logf("at most %v old, %d writes", worst, server.writes)
				if server.tells() == 0 || server.writes < 5 {
					t.Errorf("%d writes, and the pool tells %d", server.writes, server.tells())
				}
				if worst > tc.oldest {
					t.Errorf("the numbers were %v old, want at most %v", worst, tc.oldest)
				}
				if most := 4 + 2*int(lasts/time.Second)*2; server.writes > most {
					t.Errorf("%d writes, want at most %d", server.writes, most)
				}
			})
		})
	}
}
