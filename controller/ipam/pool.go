package ipam

import (
	"cmp"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/btree"
	"go4.org/netipx"
)

// Pool is what an operator wants of a pool.
type Pool struct {
	Name string
	// Created decides between pools that overlap: the older keeps what both have.
	Created time.Time

	Ranges        []netipx.IPRange
	Exclude       []netipx.IPRange
	AvoidBuggyIPs bool

	// AutoAssign lets Services that ask for neither pool nor address have one from here.
	AutoAssign bool
	// Random gives out addresses from all over the pool instead of the lowest. Where depends on the
	// Service's and the pool's name alone, so a Service that is made again tends to get what it had.
	Random bool
	// For says whom the pool serves; nil is everybody.
	For *Audience
	// PerNamespace is how many of the pool's addresses the Services of a namespace may hold; 0 is any number.
	PerNamespace int64

	// ReuseDelay is how long an address that is given up rests before another Service may have it.
	ReuseDelay time.Duration
	// ShareAcross lets Services of several namespaces share an address (sharing: Cluster).
	ShareAcross bool

	// Deleting pools give out nothing new.
	Deleting bool
	// ReleaseOrphans takes addresses that the pool does not cover any more from the Services that hold them.
	ReleaseOrphans bool
	// Invalid says why the pool can't be read, if so. It gives out nothing, and what was live stays live.
	Invalid string
}

// Audience says whom a pool serves: Services in the namespaces that Namespace accepts and with labels that
// Service accepts; nil accepts all.
type Audience struct {
	// Priority orders the pools that select a Service: the lower first, 0 last.
	Priority int32
	// Exclusive keeps the Services that the pool selects from pools that do not select them.
	Exclusive bool

	Namespace func(name string, labels map[string]string) bool
	Service   func(labels map[string]string) bool
	// Says is what Namespace and Service go by: where it is the same for two Audiences, so are they. With "" nothing is
	// known of that.
	Says string
}

// alike reports whether two Audiences are known to be the same.
func (x *Audience) alike(y *Audience) bool {
	if x == nil || y == nil {
		return x == y
	}
	same := x.Says == y.Says && (x.Says != "" || x.Namespace == nil && y.Namespace == nil && x.Service == nil && y.Service == nil)
	return same && x.Priority == y.Priority && x.Exclusive == y.Exclusive
}

// pool is a Pool at work.
type pool struct {
	Pool
	id     id   // in the roster
	exists bool // there is such a Pool; a pool that is gone may still have addresses that Services hold

	claims    []span // what it lists and does not exclude
	territory []span // its claims without what pools ahead of it have and what is reserved
	rule      usable
	free      [2]*freeSpace // by Family
	capacity  [2]Count

	// held counts distinct addresses that our Services hold and that count in this pool, orphans included:
	// those that are outside of its territory.
	held    [2]int64
	orphans int64
	touched bool // its numbers changed since they were last asked for

	// rests are the addresses that rest, those that end first, first; resting counts them by Family.
	rests   *btree.BTreeG[*rest]
	resting [2]int64

	told edition // what the answers that were given so far went by
	left bool    // addresses that counted in it count in another pool since

	ahead   []string   // pools that keep parts of what it lists
	skipped []Reserved // parts that are never given out
}

func newPool(name string) *pool {
	return &pool{
		Pool:  Pool{Name: name},
		free:  [2]*freeSpace{newFreeSpace(usable{}), newFreeSpace(usable{})},
		rests: newDue(),
	}
}

// covers reports whether the pool lists the address and does not exclude it. A pool that can't be read covers
// what it had.
func (p *pool) covers(n num) bool {
	if p.Invalid != "" {
		return true
	}
	_, ok := find(p.claims, n)
	return ok
}

// lists reports whether the pool lists addresses of a family, given out or not.
func (p *pool) lists(f Family) bool {
	return slices.ContainsFunc(p.Ranges, func(r netipx.IPRange) bool { return FamilyOf(r.From()) == f })
}

// gives reports whether the address is among those that the pool gives out, taken or not.
func (p *pool) gives(n num) bool {
	_, ok := find(p.territory, n)
	return ok && p.rule.holds(n)
}

// standing is how an address stands with the pool that it counts in.
type standing uint8

const (
	stands   standing = iota
	orphan            // the pool does not give it out any more
	notReady          // the pool can't be read
	ending            // the pool is being deleted
	gone              // the pool is no more
)

// String completes "10.0.0.5 from pool public".
func (s standing) String() string {
	return [...]string{
		"", ", which does not give it out any more", ", which is not ready", ", which is being deleted", ", which is gone",
	}[s]
}

// standing returns how an address that a Service holds stands with the pool.
func (p *pool) standing(n num) standing {
	switch {
	case !p.exists:
		return gone
	case p.Deleting:
		return ending
	case p.Invalid != "":
		return notReady
	case !p.gives(n):
		return orphan
	default:
		return stands
	}
}

// releases reports whether Services are to give up an address of the pool, because its operator says so: one that it
// does not give out any more, or any when it is being deleted.
func (p *pool) releases(n num) bool {
	return p.ReleaseOrphans && p.Invalid == "" && (p.Deleting || !p.gives(n))
}

// pick returns the free address that a Service would get.
func (p *pool) pick(f Family, who Key) (num, bool) {
	if !p.Random || p.free[f].count.IsZero() {
		return p.free[f].lowest()
	}
	h := fnv.New128a()
	h.Write([]byte(p.Name + "\x00" + who.Namespace + "\x00" + who.Name))
	sum := h.Sum(nil)
	var offset Count
	for _, b := range sum {
		offset = offset.shl(8).plus(CountOf(uint64(b)))
	}
	var total Count
	for _, s := range p.territory {
		if familyOf(s.lo) == f {
			total = total.plus(s.size())
		}
	}
	offset = offset.mod(total)
	for _, s := range p.territory {
		if familyOf(s.lo) != f {
			continue
		}
		if size := s.size(); offset.less(size) {
			return p.free[f].from(s.lo.plus(offset))
		} else {
			offset = offset.minus(size)
		}
	}
	return p.free[f].lowest()
}

// settle sets the pool to cover territory; its free space is then all of it, to be taken from by whoever holds
// addresses there.
func (p *pool) settle(territory []span) {
	p.territory = territory
	p.rule = usable{p.AvoidBuggyIPs}
	p.capacity = [2]Count{}
	for f := range p.free {
		p.free[f] = newFreeSpace(p.rule)
	}
	for _, s := range territory {
		f := familyOf(s.lo)
		p.free[f].addSpan(s)
		p.capacity[f] = p.free[f].count
	}
}

// region is a part of the territory of a pool.
type region struct {
	span
	pool *pool
}

// atlas says whose territory an address is in. Regions do not overlap.
type atlas struct{ regions *btree.BTreeG[region] }

func newAtlas() atlas {
	return atlas{btree.NewG(32, func(a, b region) bool { return a.hi.less(b.hi) })}
}

func (a atlas) owner(n num) *pool {
	var found *pool
	a.regions.AscendGreaterOrEqual(region{span: span{hi: n}}, func(r region) bool {
		if r.has(n) {
			found = r.pool
		}
		return false
	})
	return found
}

// settle gives a pool what of its claims is still free, and returns it; the pools that had the rest are named.
func (a atlas) settle(p *pool) (territory []span, ahead []string) {
	for _, s := range p.claims {
		var taken []span
		a.regions.AscendGreaterOrEqual(region{span: span{hi: s.lo}}, func(r region) bool {
			if s.hi.less(r.lo) {
				return false
			}
			taken = append(taken, r.span)
			if !slices.Contains(ahead, r.pool.Name) {
				ahead = append(ahead, r.pool.Name)
			}
			return true
		})
		territory = append(territory, subtract([]span{s}, taken)...)
	}
	for _, s := range territory {
		a.regions.ReplaceOrInsert(region{s, p})
	}
	slices.Sort(ahead)
	return territory, ahead
}

// precedence orders pools for deciding who keeps an overlap: pools that are being deleted come last, so that a
// pool made in place of a deleted one takes over its addresses; then the older is first, then the first by name.
func precedence(a, b *pool) int {
	if a.Deleting != b.Deleting {
		if b.Deleting {
			return -1
		}
		return 1
	}
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// preference orders pools for a Service that asks for none: pools for somebody by priority, 0 last, then pools for
// everybody; ties by name.
func preference(a, b *pool) int {
	rank := func(p *pool) int64 {
		switch {
		case p.For == nil:
			return math.MaxInt64
		case p.For.Priority == 0:
			return math.MaxInt64 - 1
		default:
			return int64(p.For.Priority)
		}
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Name, b.Name))
}
