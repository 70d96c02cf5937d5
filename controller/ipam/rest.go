package ipam

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/btree"
)

// MaxResting is how many addresses of a pool rest at most, which is what the pool's status has room for. Where more are
// given up within the pool's reuseDelay, those that have rested longest may be had again early. So what the status
// says is all there is, and a restart changes nothing.
const MaxResting = 1024

// Rest is an address that was given up and that waits before another Service may have it.
type Rest struct {
	Address netip.Addr
	// Service held it last, and may have it back at once.
	Service Key
	// Until is a whole second.
	Until time.Time
}

// rest is a Rest at work.
type rest struct {
	addr  num
	key   Key
	until time.Time
	pool  *pool // that would give it out
}

// rests are the addresses that rest. They are not in the free space of their pools.
type rests struct {
	byAddr map[num]*rest
	byKey  map[Key][]*rest
	due    *btree.BTreeG[*rest] // those that end first, first
}

func newDue() *btree.BTreeG[*rest] {
	return btree.NewG(8, func(a, b *rest) bool {
		if c := a.until.Compare(b.until); c != 0 {
			return c < 0
		}
		return a.addr.less(b.addr)
	})
}

func newRests() *rests {
	return &rests{byAddr: map[num]*rest{}, byKey: map[Key][]*rest{}, due: newDue()}
}

func (x *rests) add(r *rest) {
	x.byAddr[r.addr] = r
	x.byKey[r.key] = append(x.byKey[r.key], r)
	x.due.ReplaceOrInsert(r)
	r.pool.rests.ReplaceOrInsert(r)
	r.pool.resting[familyOf(r.addr)]++
}

func (x *rests) remove(r *rest) {
	delete(x.byAddr, r.addr)
	if mine := slices.DeleteFunc(x.byKey[r.key], func(o *rest) bool { return o == r }); len(mine) > 0 {
		x.byKey[r.key] = mine
	} else {
		delete(x.byKey, r.key)
	}
	x.due.Delete(r)
	r.pool.rests.Delete(r)
	r.pool.resting[familyOf(r.addr)]--
}

// own returns the lowest address of a family in a pool that rests for a Service to come back.
func (x *rests) own(k Key, p *pool, f Family) (best num, ok bool) {
	for _, r := range x.byKey[k] {
		if r.pool == p && familyOf(r.addr) == f && (!ok || r.addr.less(best)) {
			best, ok = r.addr, true
		}
	}
	return best, ok
}

// Advance tells the time: addresses that have rested until then are free. It returns when the next one will be, the
// zero time when none rests. Whatever is given up later rests from then on.
func (a *Allocator) Advance(now time.Time) (next time.Time) {
	if now.After(a.now) {
		a.now = now
	}
	for {
		r, ok := a.rests.due.Min()
		if !ok {
			return time.Time{}
		}
		if r.until.After(a.now) {
			return r.until
		}
		a.endRest(r)
	}
}

// Resting lists the addresses of a pool that rest, in their order, for the pool's status.
func (a *Allocator) Resting(name string) (out []Rest) {
	p := a.pools[name]
	if p == nil {
		return nil
	}
	p.rests.Ascend(func(r *rest) bool {
		out = append(out, Rest{addrOf(r.addr), r.key, r.until})
		return true
	})
	slices.SortFunc(out, func(x, y Rest) int { return x.Address.Compare(y.Address) })
	return out
}

// RestoreResting has addresses rest that did so according to the pools' status, as after a restart. It is called after
// SetPools and Advance, before or after Adopt. What a Service holds does not rest, nor does what no pool gives out.
func (a *Allocator) RestoreResting(list []Rest) {
	for _, l := range list {
		if whyNever(l.Address) != "" {
			continue
		}
		n := numOf(l.Address)
		p := a.atlas.owner(n)
		if p == nil || !p.gives(n) || a.ledger.on(n) != 0 || a.rests.byAddr[n] != nil {
			continue
		}
		a.lay(n, p, l.Service, l.Until)
	}
}

// lay puts an address to rest that is in free space, unless that would be over at once.
func (a *Allocator) lay(n num, p *pool, k Key, until time.Time) {
	if longest := a.restEnd(p); longest.Before(until) {
		until = longest
	}
	if p.ReuseDelay <= 0 || !until.After(a.now) {
		return
	}
	p.free[familyOf(n)].take(n)
	a.rests.add(&rest{n, k, until, p})
	a.touch(p)
	if p.rests.Len() > MaxResting {
		first, _ := p.rests.Min()
		a.endRest(first)
	}
}

// restEnd is when an address that is given up now may be had by anybody.
func (a *Allocator) restEnd(p *pool) time.Time {
	end := a.now.Add(p.ReuseDelay)
	if whole := end.Truncate(time.Second); whole.Before(end) {
		return whole.Add(time.Second)
	}
	return end
}

// endRest lets anybody have an address that rested.
func (a *Allocator) endRest(r *rest) {
	a.rests.remove(r)
	r.pool.free[familyOf(r.addr)].put(r.addr)
	a.available(r.addr, r.pool)
	a.waiting.wakeAll(Cause{Kind: CauseAddress, Address: addrOf(r.addr)}) // they were told that it rests
}

// resettle has what rests do so in the pools that there are by now; it is in their free space.
func (a *Allocator) resettle() {
	var all []*rest
	a.rests.due.Ascend(func(r *rest) bool {
		all = append(all, r)
		return true
	})
	for _, r := range all {
		a.rests.remove(r)
	}
	for _, r := range all {
		if p := a.atlas.owner(r.addr); p != nil && p.gives(r.addr) {
			a.lay(r.addr, p, r.key, r.until)
		}
	}
}
