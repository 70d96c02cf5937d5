package ipam

import (
	"fmt"
	"strconv"
	"testing"
)

// crowd makes Services that are many and alike in what makes allocators slow.
var crowds = map[string]struct {
	services int
	pool     string
	ask      func(i int, r *Request)
}{
	"one key and one port": {4000, "10.0.0.0/16", func(_ int, r *Request) {
		r.SharingKey, r.Ports = "k", []Port{{"TCP", 80}}
	}},
	"one key and a port each": {4000, "10.0.0.0/16", func(i int, r *Request) {
		r.SharingKey, r.Ports = "k", []Port{{"TCP", uint16(i + 1)}}
	}},
	"one key, one port in common and one each": {4000, "10.0.0.0/16", func(i int, r *Request) {
		r.SharingKey, r.Ports = "k", []Port{{"TCP", 80}, {"TCP", uint16(i + 1000)}}
	}},
	"one key and Pods of their own": {4000, "10.0.0.0/16", func(i int, r *Request) {
		r.SharingKey, r.Ports = "k", []Port{{"TCP", 80}}
		r.Local, r.Selector = true, map[string]string{"app": strconv.Itoa(i)}
	}},
	"Local, without a key": {4000, "10.0.0.0/16", func(i int, r *Request) {
		r.Ports, r.Local, r.Selector = []Port{{"TCP", 80}}, true, map[string]string{"app": strconv.Itoa(i)}
	}},
	"pairs under a key": {4000, "10.0.0.0/16", func(i int, r *Request) {
		r.SharingKey, r.Ports = strconv.Itoa(i/2), []Port{{"TCP", uint16(80 + i%2)}}
	}},
}

// However many Services come, go and wait, each is tried a few times: when it comes, and when what stood in its way
// changed. The number of tries is counted, for time would tell of the machine too.
func TestTriesAreAsManyAsServices(t *testing.T) {
	for name, crowd := range crowds {
		t.Run(name, func(t *testing.T) {
			a := New()
			tries := 0
			try := func(i int) Decision {
				r := Request{Service: key(strconv.Itoa(i)), Families: []Family{IPv4}}
				crowd.ask(i, &r)
				tries++
				d := a.Assign(r)
				a.Settle(r.Service)
				return d
			}
			bringBack := func() {
				for woken := a.TakeWoken(); len(woken) > 0; woken = a.TakeWoken() {
					for _, k := range woken {
						i, _ := strconv.Atoi(k.Name)
						try(i)
					}
				}
			}
			few := func(what string, most int) {
				t.Helper()
				bringBack()
				if tries > most {
					t.Errorf("%s: %d tries, want at most %d", what, tries, most)
				}
				tries = 0
			}

			n := crowd.services
			for i := range n {
				try(i)
			}
			few("a backlog without a pool", n)
			a.SetPools([]Pool{auto("lab", crowd.pool)})
			few("the pool appears", 2*n)
			for i := range n {
				if len(a.Holds(key(strconv.Itoa(i)))) == 0 {
					t.Fatalf("Service %d has nothing", i)
				}
			}
			for i := range n {
				a.Release(key(strconv.Itoa(i)))
				try(i)
				bringBack()
			}
			few("each goes and comes again", n)
			for i := range n {
				a.Release(key(strconv.Itoa(i)))
			}
			few("all go", 0)

			// As many again, where there is room for one address only.
			a.SetPools([]Pool{auto("lab", "10.0.0.1")})
			for i := range n {
				try(i)
			}
			few("they come to a pool that is too small", 3*n)
			for i := range n {
				a.Release(key(strconv.Itoa(i)))
				bringBack()
			}
			few("one after the other goes", 3*n)
			if err := a.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// BenchmarkCrowds assigns addresses to Services that are alike in what makes allocators slow, and reports what one costs:
// the same for few and for many.
func BenchmarkCrowds(b *testing.B) {
	for name, crowd := range crowds {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				requests := make([]Request, n)
				for i := range requests {
					requests[i] = Request{Service: key(strconv.Itoa(i)), Families: []Family{IPv4}}
					crowd.ask(i, &requests[i])
				}
				for b.Loop() {
					a := New()
					a.SetPools([]Pool{auto("lab", crowd.pool)})
					for _, r := range requests {
						a.Assign(r)
						a.Settle(r.Service)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/Service")
			})
		}
	}
}
