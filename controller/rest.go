package controller

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// Addresses that were given up rest for their pool's reuseDelay. Which do, and until when, stands in the pool's status,
// and is read from there when a term begins.

// followRests tells the ledger the time whenever an address has rested for long enough: one timer for all.
func (t *term) followRests(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.restSet:
		case <-timer.C:
		}
		t.mu.Lock()
		t.ledger.Advance(t.o.Now())
		t.wakeLocked()
		next := t.rested
		t.mu.Unlock()
		if !next.IsZero() {
			timer.Reset(max(0, next.Sub(t.o.Now())))
		}
	}
}

// restPause is how long after a look at a pool's status the next one may follow when more rests than it says: what is
// not written yet is lost when the controller dies.
const restPause = 100 * time.Millisecond

// writeRests writes what rests and is not in the pools' status yet, at the end of a term.
func (t *term) writeRests() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var pools clarion.IPAddressPoolList
	if err := t.cache.List(ctx, &pools); err != nil {
		return
	}
	for i := range pools.Items {
		p := &pools.Items[i]
		t.mu.Lock()
		want := restingStatus(t.ledger.Resting(p.Name))
		t.mu.Unlock()
		if t.lease.left() <= 0 || restsAlike(want, p.Status.Resting) {
			continue
		}
		if err := t.client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil { // the cache does not follow any more
			continue
		}
		status := p.Status
		status.Resting = want
		if patch, changed := statusPatch(p, p.Status, status); changed {
			_ = t.patchStatus(ctx, "pool", p, patch) // it tells its failures
		}
	}
}

func restsAlike(a, b []clarion.RestingAddress) bool {
	return slices.EqualFunc(a, b, func(x, y clarion.RestingAddress) bool {
		return x.Address == y.Address && x.Until.Equal(&y.Until) && x.Namespace == y.Namespace && x.Service == y.Service
	})
}

// listResting lists what rests from the API server: the cache may be behind what the last leader wrote.
func (t *term) listResting(ctx context.Context) (out []ipam.Rest, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var pools clarion.IPAddressPoolList
	if err := t.client.List(ctx, &pools); err != nil {
		return nil, fmt.Errorf("listing pools: %w", err)
	}
	return restsOf(pools.Items), nil
}

// restsOf reads what pools' statuses tell of what rests.
func restsOf(pools []clarion.IPAddressPool) (out []ipam.Rest) {
	for i := range pools {
		for _, r := range pools[i].Status.Resting {
			addr, err := netip.ParseAddr(r.Address)
			if err != nil {
				continue // not written by us
			}
			out = append(out, ipam.Rest{
				Address: addr, Until: r.Until.Time,
				Service: ipam.Key{Namespace: r.Namespace, Name: r.Service},
			})
		}
	}
	return out
}

// restingStatus is how a pool's status tells of what rests.
func restingStatus(list []ipam.Rest) (out []clarion.RestingAddress) {
	for _, r := range list {
		out = append(out, clarion.RestingAddress{
			Address: r.Address.String(), Until: metav1.NewTime(r.Until),
			Namespace: r.Service.Namespace, Service: r.Service.Name,
		})
	}
	return out
}
