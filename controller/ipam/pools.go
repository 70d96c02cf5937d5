package ipam

import (
	"fmt"
	"slices"
	"strings"
)

// SetPools makes pools the pools there are. Services keep what they hold, whatever the edit. Those whose addresses
// count in another pool by it (a pool renamed, split, or made over orphans) or stand differently with their pool (it
// is being deleted, or does not cover them any more) are among the woken, and so are those who wait and whom the edit
// concerns.
func (a *Allocator) SetPools(pools []Pool) {
	for _, p := range a.pools {
		p.exists = false
	}
	a.order = nil
	for _, want := range pools {
		p := a.named(want.Name)
		p.Pool, p.exists = want, true
		a.order = append(a.order, p)
	}
	a.survey()
}

// survey works out what the pools and what is reserved come to.
func (a *Allocator) survey() {
	for _, p := range a.order {
		a.touch(p)
	}
	before := a.atlas
	a.divide()
	moved := a.reattribute()
	a.rebuild()
	a.occupy()
	a.resettle()

	edits := a.compare(before)
	for _, p := range a.pools {
		if !p.exists {
			a.bury(p)
		}
	}
	slices.SortFunc(a.order, preference)

	a.waiting.wakeWhere(edits.concern)
	slices.SortFunc(moved, Key.Compare)
	for _, k := range slices.Compact(moved) {
		a.waiting.call(k)
	}
}

// divide gives every pool its territory: the pools in order of precedence, each what is left of what it lists.
func (a *Allocator) divide() {
	a.atlas = newAtlas()
	slices.SortFunc(a.order, precedence)
	for _, p := range a.pools {
		p.orphans = 0
		if !p.exists {
			p.Pool = Pool{Name: p.Name} // what it was no longer matters
			p.claims, p.ahead, p.skipped = nil, nil, nil
			p.settle(nil)
		}
	}
	reserved := a.reserved.spans()
	for _, p := range a.order {
		p.claims = subtract(subtract(spansOf(p.Ranges), spansOf(p.Exclude)), neverAssignedSpans)
		p.skipped = skippedOf(p.Ranges, p.claims, a.reserved)
		territory, ahead := a.atlas.settle(p)
		p.ahead = ahead
		p.settle(subtract(normalize(territory), reserved))
	}
}

// reattribute has every held address count in the pool that it belongs to by now. It returns the Services for which
// that is another one or their address stands differently with it, and those that are to give it up.
func (a *Allocator) reattribute() (moved []Key) {
	var ours []id
	a.ledger.addresses(func(n num) {
		ours = ours[:0]
		a.ledger.besides(n, func(c id, it *claim) bool {
			if it.pool != 0 {
				ours = append(ours, c)
			}
			return true
		})
		if len(ours) == 0 {
			return
		}
		from := a.poolOf(a.ledger.claims.at(ours[0]))
		to := a.attribute(n, from, a.asked(n, from, 0))
		if to != from {
			a.transfer(n, ours, to)
			from.left = true
		}
		if !to.gives(n) {
			to.orphans++
		}
		stands := to.standing(n)
		for _, c := range ours {
			it := a.ledger.claims.at(c)
			if to != from || to.releases(n) || it.stands != stands {
				it.stands = stands
				moved = append(moved, a.ledger.holders.at(it.holder).key())
			}
		}
	})
	return moved
}

// transfer has an address count in another pool.
func (a *Allocator) transfer(n num, ours []id, to *pool) {
	from := a.poolOf(a.ledger.claims.at(ours[0]))
	f := familyOf(n)
	from.held[f]--
	to.held[f]++
	a.touch(from)
	a.touch(to)
	seen := map[*namespace]bool{}
	for _, c := range ours {
		it := a.ledger.claims.at(c)
		it.pool = to.id
		if ns := a.ledger.holders.at(it.holder).namespace; !seen[ns] {
			seen[ns] = true
			if ns.held[from]--; ns.held[from] == 0 {
				delete(ns.held, from)
			}
			ns.held[to]++
		}
	}
}

// occupy takes every held address out of the free space that divide made.
func (a *Allocator) occupy() {
	a.ledger.addresses(func(n num) {
		if p := a.atlas.owner(n); p != nil && p.gives(n) {
			p.free[familyOf(n)].take(n)
		}
	})
}

// Usage is how much of a pool is in use, by family.
type Usage struct {
	IPv4, IPv6 FamilyUsage
	// Orphans are addresses that Services hold and the pool does not cover any more; they are among Assigned.
	Orphans int64
}

// FamilyUsage is how much of a pool is in use in one family.
type FamilyUsage struct {
	Capacity  Count // what it may give out
	Available Count // what of that is free
	Assigned  int64 // what Services hold; a shared address counts once
	Resting   int64 // what was given up and waits before another Service may have it
}

// InUse reports whether Services hold addresses of the pool.
func (u Usage) InUse() bool { return u.IPv4.Assigned+u.IPv6.Assigned > 0 }

// Condition is what is to be said of a pool beyond its numbers.
type Condition struct {
	Invalid string
	// Ahead names the pools that keep parts of what the pool lists, because they are older.
	Ahead []string
	// Skipped are parts that are never given out.
	Skipped []Reserved
	// NearlyFull tells of the families of which less than a tenth is available: "3 of 256 IPv4 addresses are left". It is
	// empty when there are none.
	NearlyFull string
}

// Usage returns how much of a pool is in use; ok is false when there is no such pool.
func (a *Allocator) Usage(name string) (u Usage, ok bool) {
	p := a.pools[name]
	if p == nil {
		return Usage{}, false
	}
	of := func(f Family) FamilyUsage {
		return FamilyUsage{Capacity: p.capacity[f], Available: p.free[f].count, Assigned: p.held[f], Resting: p.resting[f]}
	}
	u = Usage{IPv4: of(IPv4), IPv6: of(IPv6), Orphans: p.orphans}
	return u, true
}

// Condition returns what is to be said of a pool.
func (a *Allocator) Condition(name string) Condition {
	p := a.pools[name]
	if p == nil {
		return Condition{}
	}
	return Condition{Invalid: p.Invalid, Ahead: p.ahead, Skipped: p.skipped, NearlyFull: p.nearlyFull()}
}

// nearlyFull tells of the families that the pool has little left of.
func (p *pool) nearlyFull() string {
	var parts []string
	for _, f := range bothFamilies {
		left, all := p.free[f].count, p.capacity[f]
		if all.IsZero() || !left.tenfoldLess(all) {
			continue
		}
		text := fmt.Sprintf("%s of %s %s addresses are left", left.Short(), all.Short(), f)
		if p.resting[f] > 0 {
			text += fmt.Sprintf(", %d more rest", p.resting[f])
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}
