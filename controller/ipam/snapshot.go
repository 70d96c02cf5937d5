package ipam

import (
	"net/netip"
	"time"
)

// Snapshot is all that decides who gets which address, as it can be read from a cluster.
type Snapshot struct {
	Pools    []Pool
	Reserved []Reserved
	// Services are those that Clarion serves, with what their statuses show.
	Services []Request
	// Others is what Services hold that other providers serve.
	Others  map[Key][]netip.Addr
	Resting []Rest
	Now     time.Time
}

// Allocator returns an Allocator that has adopted what the snapshot shows, as after a start.
func (s Snapshot) Allocator() *Allocator {
	a := New()
	a.Advance(s.Now)
	a.SetPools(s.Pools)
	a.SetReserved(s.Reserved)
	for k, addrs := range s.Others {
		a.Reserve(k, addrs)
	}
	a.Adopt(s.Services)
	a.RestoreResting(s.Resting)
	return a
}

// Explain says what a Service that asks would be told, and why, and which pools were considered.
func (s Snapshot) Explain(r Request) Decision { return s.Allocator().Explain(r) }
