package ipam

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// twin is the slow and obvious Allocator: a list of who holds what, and loops over every address of a small universe.
type twin struct {
	pools   []Pool
	holds   map[Key][]hold
	foreign map[Key][]netip.Addr

	now      time.Time
	batch    []Request       // that are adopted together
	asks     map[Key]Request // by the last answer
	rests    map[netip.Addr]Rest
	reserved []netip.Addr
}

func newTwin(pools []Pool) *twin {
	return &twin{pools: pools, holds: map[Key][]hold{}, foreign: map[Key][]netip.Addr{}, asks: map[Key]Request{}, rests: map[netip.Addr]Rest{}}
}

type hold struct {
	addr             netip.Addr
	pool             string
	leaving, written bool
	loose, ousted    bool
}

// universe is every address that the pools of the test may have: few, with .0, .255, .254 and .1 among them.
var universe = func() (out []netip.Addr) {
	for _, r := range ranges("10.0.0.248-10.0.1.7 fd00::-fd00::b") {
		for a := r.From(); r.Contains(a); a = a.Next() {
			out = append(out, a)
		}
	}
	return out
}()

func lists(rs []netipx.IPRange, a netip.Addr) bool {
	return slices.ContainsFunc(rs, func(r netipx.IPRange) bool { return r.Contains(a) })
}

// covers: the pool lists the address and does not exclude it.
func (p Pool) covers(a netip.Addr) bool { return lists(p.Ranges, a) && !lists(p.Exclude, a) }

func (p Pool) avoids(a netip.Addr) bool {
	s := a.String()
	return p.AvoidBuggyIPs && a.Is4() && (strings.HasSuffix(s, ".0") || strings.HasSuffix(s, ".255"))
}

func (w *twin) pool(name string) *Pool {
	for i := range w.pools {
		if w.pools[i].Name == name {
			return &w.pools[i]
		}
	}
	return nil
}

// owner is the pool whose address this is: of those that cover it one that is not being deleted, then the oldest.
func (w *twin) owner(a netip.Addr) *Pool {
	var best *Pool
	for i := range w.pools {
		p := &w.pools[i]
		if !p.covers(a) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(b2i(p.Deleting), b2i(best.Deleting)), p.Created.Compare(best.Created), cmp.Compare(p.Name, best.Name)) < 0 {
			best = p
		}
	}
	return best
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (w *twin) heldByOurs(a netip.Addr) bool {
	for _, hs := range w.holds {
		if slices.ContainsFunc(hs, func(h hold) bool { return h.addr == a }) {
			return true
		}
	}
	return false
}

func (w *twin) heldByAnother(a netip.Addr) bool {
	for _, addrs := range w.foreign {
		if slices.Contains(addrs, a) {
			return true
		}
	}
	return false
}

func (w *twin) held(a netip.Addr) bool { return w.heldByOurs(a) || w.heldByAnother(a) }

// gives: the pool gives the address out, if nobody has it.
func (w *twin) gives(p Pool, a netip.Addr) bool {
	o := w.owner(a)
	return o != nil && o.Name == p.Name && !p.avoids(a) && !slices.Contains(w.reserved, a)
}

// tidy ends rests that are over, and those of addresses that are held or that no pool gives out.
func (w *twin) tidy() {
	for a, r := range w.rests {
		o := w.owner(a)
		if w.held(a) || o == nil || !w.gives(*o, a) {
			delete(w.rests, a)
			continue
		}
		if longest := w.now.Add(o.ReuseDelay); longest.Before(r.Until) {
			r.Until = longest
		}
		if w.rests[a] = r; !r.Until.After(w.now) {
			delete(w.rests, a)
		}
	}
}

// gaveUp lays what a Service held and nobody does any more to rest.
func (w *twin) gaveUp(k Key, had []hold) {
	for _, h := range had {
		if o := w.owner(h.addr); !w.held(h.addr) && o != nil {
			w.rests[h.addr] = Rest{h.addr, k, w.now.Add(o.ReuseDelay)}
		}
	}
	w.tidy()
}

// free lists the free addresses of a pool, lowest first.
func (w *twin) free(p Pool, f Family) (out []netip.Addr) {
	for _, a := range universe {
		if _, rests := w.rests[a]; FamilyOf(a) == f && w.gives(p, a) && !w.held(a) && !rests {
			out = append(out, a)
		}
	}
	return out
}

// open lists what a Service may have: what rests for it, then what is free.
func (w *twin) open(p Pool, f Family, k Key) (out []netip.Addr) {
	for _, a := range universe {
		if r, rests := w.rests[a]; FamilyOf(a) == f && rests && r.Service == k && w.gives(p, a) {
			out = append(out, a)
		}
	}
	return append(out, w.free(p, f)...)
}

func (w *twin) capacity(p Pool, f Family) (n int) {
	for _, a := range universe {
		if FamilyOf(a) == f && w.gives(p, a) {
			n++
		}
	}
	return n
}

func (w *twin) attribute(a netip.Addr, current string, asked bool) string {
	if p := w.pool(current); p != nil && !p.Deleting && (asked || p.Invalid != "" || p.covers(a)) {
		return current
	}
	if o := w.owner(a); o != nil {
		return o.Name
	}
	return current
}

func (w *twin) setPools(pools []Pool) {
	w.pools = pools
	for k := range w.holds {
		for i := range w.holds[k] {
			h := &w.holds[k][i]
			h.pool = w.attribute(h.addr, h.pool, w.askedFor(h.addr, h.pool, Key{}))
		}
	}
	for _, a := range universe { // an edit moves nobody
		w.tolerate(a)
	}
	w.tidy()
}

// askedFor: a Service, other than one, has the address and asks for the pool.
func (w *twin) askedFor(a netip.Addr, pool string, but Key) bool {
	return slices.ContainsFunc(w.on(a), func(o holding) bool { return o.key != but && w.asks[o.key].Pool == pool })
}

// tolerate has those who may not share an address do so all the same.
func (w *twin) tolerate(a netip.Addr) {
	all := slices.DeleteFunc(w.on(a), func(o holding) bool { return o.hold.ousted || o.hold.leaving })
	for _, x := range all {
		for _, y := range all {
			if x.key != y.key && !w.alike(w.asks[x.key], w.asks[y.key], x.hold.pool) {
				x.hold.loose = true
			}
		}
	}
}

// keptIn is the pool in which an address counts that a Service keeps.
func (w *twin) keptIn(r Request, h hold) string {
	o := w.owner(h.addr)
	if o != nil && r.Pool == o.Name && !w.askedFor(h.addr, h.pool, r.Service) && w.gives(*o, h.addr) && w.mayServe(*o, r, true) == "" {
		return o.Name
	}
	return h.pool
}

// holding is a Service's hold on an address.
type holding struct {
	key  Key
	hold *hold
}

// on lists who of ours holds an address.
func (w *twin) on(a netip.Addr) (out []holding) {
	for k := range w.holds {
		for i := range w.holds[k] {
			if w.holds[k][i].addr == a {
				out = append(out, holding{k, &w.holds[k][i]})
			}
		}
	}
	return out
}

// alike: the two may share an address that counts in a pool, ports aside.
func (w *twin) alike(x, y Request, pool string) bool {
	if x.SharingKey == "" || x.SharingKey != y.SharingKey || x.Local != y.Local || len(x.Ports) == 0 || len(y.Ports) == 0 {
		return false
	}
	same := x.Service.Namespace == y.Service.Namespace
	if x.Local {
		return same && len(x.Selector) > 0 && maps.Equal(x.Selector, y.Selector)
	}
	p := w.pool(pool)
	return same || p != nil && p.ShareAcross
}

// clash: the two have a port in common.
func clash(x, y Request) bool {
	for _, p := range x.Ports {
		for _, q := range y.Ports {
			if p == q {
				return true
			}
		}
	}
	return len(x.Ports) == 0 || len(y.Ports) == 0
}

func older(x, y Request) bool {
	return cmp.Or(x.Created.Compare(y.Created), x.Service.Compare(y.Service)) < 0
}

// fitting: how a Service that asks for this stands at an address that it holds.
func (w *twin) fitting(r Request, h hold) (how fit, beaten []*hold) {
	for _, o := range w.on(h.addr) {
		other := w.asks[o.key]
		if o.key == r.Service || o.hold.leaving || !clash(r, other) && w.alike(r, other, h.pool) {
			continue
		}
		switch {
		case !clash(r, other) && h.loose && o.hold.loose:
			how = max(how, tolerated)
		case h.ousted && !o.hold.ousted, h.ousted == o.hold.ousted && older(other, r):
			return loses, nil
		default:
			beaten = append(beaten, o.hold)
		}
	}
	return how, beaten
}

// join is the lowest address of a pool that the Service may share with those who hold it.
func (w *twin) join(p Pool, f Family, r Request, target []hold) (netip.Addr, bool) {
	for _, a := range universe {
		if FamilyOf(a) == f && w.gives(p, a) && w.mayJoin(p, a, r) && (w.within(r, p, a) || w.quotaLeft(p, r, target, 1)) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (w *twin) mayJoin(p Pool, a netip.Addr, r Request) bool {
	all := w.on(a)
	for _, o := range all {
		if o.key == r.Service || o.hold.pool != p.Name || !w.alike(r, w.asks[o.key], p.Name) || clash(r, w.asks[o.key]) {
			return false
		}
	}
	return len(all) > 0 && !w.heldByAnother(a)
}

// within: the address costs nothing of the quota, for somebody of the namespace has it.
func (w *twin) within(r Request, p Pool, a netip.Addr) bool {
	return slices.ContainsFunc(w.on(a), func(o holding) bool { return o.key.Namespace == r.Service.Namespace })
}

func (w *twin) adoptable(s Status) bool {
	if s.Pools != nil {
		return true
	}
	for _, a := range s.Addresses {
		if w.owner(a) == nil {
			return false
		}
	}
	return true
}

func (w *twin) adopt(r Request, withAll bool) {
	w.asks[r.Service] = r
	for i, a := range r.Status.Addresses {
		pool := ""
		if i < len(r.Status.Pools) {
			pool = r.Status.Pools[i]
		}
		if r.Status.Pools != nil && pool == "" {
			continue
		}
		together := w.batch
		if !withAll {
			together = []Request{r}
		}
		asked := slices.ContainsFunc(together, func(x Request) bool {
			at := slices.Index(x.Status.Addresses, a)
			return pool != "" && x.Pool == pool && at >= 0 && x.Status.Pools != nil && x.Status.Pools[at] == pool
		})
		if pool = w.attribute(a, pool, asked); pool == "" {
			continue
		}
		h := hold{addr: a, pool: pool, written: true}
		var against []*hold
		for _, o := range w.on(a) {
			h.pool = o.hold.pool
			switch {
			case o.hold.ousted || o.hold.leaving:
			case clash(r, w.asks[o.key]):
				h.ousted = true
			case !w.alike(r, w.asks[o.key], h.pool):
				against = append(against, o.hold)
				h.ousted = h.ousted || !withAll
			}
		}
		if len(against) > 0 && !h.ousted {
			h.loose = true
			for _, o := range against {
				o.loose = true
			}
		}
		w.holds[r.Service] = append(w.holds[r.Service], h)
	}
}

func (w *twin) release(k Key) {
	had := w.holds[k]
	delete(w.holds, k)
	delete(w.foreign, k)
	w.gaveUp(k, had)
}

func (w *twin) settle(k Key) {
	had := slices.Clone(w.holds[k])
	w.holds[k] = slices.DeleteFunc(w.holds[k], func(h hold) bool { return h.leaving })
	defer w.gaveUp(k, had)
	for i := range w.holds[k] {
		w.holds[k][i].written = true
	}
}

// assign decides and returns the outcome as says does.
func (w *twin) assign(r Request) string {
	ours := slices.ContainsFunc(w.holds[r.Service], func(h hold) bool {
		return h.written || slices.Contains(r.Status.Addresses, h.addr)
	})
	if !ours && len(r.Status.Addresses) > 0 {
		w.release(r.Service)
		if !w.adoptable(r.Status) {
			w.foreign[r.Service] = r.Status.Addresses
			w.tidy() // what rested there does so no more
			return string(clarion.ReasonHeldByAnother)
		}
		w.adopt(r, false)
	}
	delete(w.foreign, r.Service)
	lost := func(h hold) bool { how, _ := w.fitting(r, h); return how == loses }

	target, reason := w.decide(r)
	if reason != "" {
		target = nil
		shown := func(h hold) bool { return slices.Contains(r.Status.Addresses, h.addr) }
		keeps := func(h hold) bool {
			return !lost(h) && (len(r.Families) == 0 || slices.Contains(r.Families, FamilyOf(h.addr)))
		}
		unheard := slices.ContainsFunc(w.holds[r.Service], func(h hold) bool { return shown(h) && !h.written && keeps(h) })
		for _, h := range w.holds[r.Service] {
			if keeps(h) && (unheard && shown(h) || !unheard && h.written) {
				target = append(target, h)
			}
		}
	}
	for i := range w.holds[r.Service] {
		h := &w.holds[r.Service][i]
		h.leaving = !slices.ContainsFunc(target, func(t hold) bool { return t.addr == h.addr })
	}
	for i := range w.holds[r.Service] { // those that can't stay beside it go
		if h := &w.holds[r.Service][i]; !h.leaving {
			how, beaten := w.fitting(r, *h)
			h.ousted = false
			h.loose = h.loose && how == tolerated
			for _, o := range beaten {
				o.ousted = true
			}
		}
	}
	w.asks[r.Service] = r
	defer w.tidy()
	var got []string
	for _, t := range target {
		got = append(got, t.addr.String())
		if !slices.ContainsFunc(w.holds[r.Service], func(h hold) bool { return t.addr == h.addr }) {
			w.holds[r.Service] = append(w.holds[r.Service], t)
			continue
		}
		for _, o := range w.on(t.addr) {
			if o.hold.pool != t.pool {
				defer w.tolerate(t.addr)
			}
			o.hold.pool = t.pool
		}
	}
	list := strings.Join(got, " ")
	switch {
	case reason == "":
		return list
	case list != "":
		return string(reason) + ", keeps " + list
	default:
		return string(reason)
	}
}

// decide returns what the Service should hold, or why not.
func (w *twin) decide(r Request) (target []hold, reason clarion.Reason) {
	wanted := r.Families
	if r.Policy == SingleStack && len(wanted) > 1 {
		wanted = wanted[:1]
	}
	switch {
	case len(wanted) == 0:
		return nil, clarion.ReasonNoClusterIP
	case r.Policy == RequireDualStack && len(wanted) < 2:
		return nil, clarion.ReasonFamilyMismatch
	}
	if r.Addresses != nil {
		for _, a := range r.Addresses {
			if !slices.Contains(wanted, FamilyOf(a)) {
				return nil, clarion.ReasonFamilyMismatch
			}
		}
		if len(r.Addresses) == 2 && FamilyOf(r.Addresses[0]) == FamilyOf(r.Addresses[1]) {
			return nil, clarion.ReasonInvalidRequest
		}
		if len(r.Addresses) < len(wanted) {
			return nil, clarion.ReasonFamilyMismatch
		}
	}
	if r.Pool != "" && w.pool(r.Pool) == nil {
		return nil, clarion.ReasonPoolNotFound
	}

	var missing []Family
	for _, f := range wanted {
		best := -1
		var keep hold
		for _, h := range w.holds[r.Service] {
			how, _ := w.fitting(r, h) // in the pool that it counts in so far
			h.pool = w.keptIn(r, h)
			p := w.pool(h.pool)
			gives := p != nil && w.gives(*p, h.addr)
			switch {
			case FamilyOf(h.addr) != f,
				how == loses,
				r.Addresses != nil && !slices.Contains(r.Addresses, h.addr),
				r.Pool != "" && h.pool != r.Pool,
				p != nil && p.Invalid == "" && p.ReleaseOrphans && (p.Deleting || !gives):
				continue
			}
			rank := 2*b2i(slices.Contains(r.Status.Addresses, h.addr)) + b2i(!h.leaving)
			if rank > best {
				best, keep = rank, h
			}
		}
		if best >= 0 {
			target = append(target, keep)
		} else {
			missing = append(missing, f)
		}
	}

	if r.Addresses != nil {
		why := func(a netip.Addr) clarion.Reason {
			o := w.owner(a)
			switch {
			case o == nil && slices.ContainsFunc(w.pools, func(p Pool) bool { return lists(p.Ranges, a) }):
				return clarion.ReasonAddressExcluded
			case o == nil, r.Pool != "" && o.Name != r.Pool:
				return clarion.ReasonAddressNotInPool
			}
			if reason := w.mayServe(*o, r, true); reason != "" {
				return reason
			}
			switch {
			case o.avoids(a), slices.Contains(w.reserved, a):
				return clarion.ReasonAddressExcluded
			case w.rests[a].Until.After(w.now) && w.rests[a].Service != r.Service:
				return clarion.ReasonAddressResting
			case w.held(a) && !w.mayJoin(*o, a, r):
				return clarion.ReasonAddressInUse
			case !w.within(r, *o, a) && !w.quotaLeft(*o, r, target, 1):
				return clarion.ReasonQuotaReached
			}
			target = append(target, hold{addr: a, pool: o.Name})
			return ""
		}
		had := slices.Clip(target)
		try := func(families []Family) (first clarion.Reason, left int, loses bool) {
			target = had
			for _, f := range families {
				a := r.Addresses[slices.IndexFunc(r.Addresses, func(a netip.Addr) bool { return FamilyOf(a) == f })]
				if reason := why(a); reason != "" {
					first, left, loses = cmp.Or(first, reason), left+1, loses || r.Policy != PreferDualStack || w.shows(r, f)
				}
			}
			return first, left, loses
		}
		first, left, loses := try(missing)
		if r.Policy == PreferDualStack && left == 1 && loses && len(missing) == 2 {
			if other, _, losesToo := try([]Family{missing[1], missing[0]}); !losesToo {
				first, loses = other, false
			}
		}
		if loses {
			return nil, first
		}
		if first != "" && len(target) == 0 {
			return nil, first
		}
		return w.ordered(r, wanted, target), ""
	}
	if len(missing) == 0 {
		return w.ordered(r, wanted, target), ""
	}

	// The pools in order of preference, and why those before others don't serve.
	var candidates []Pool
	closest := clarion.ReasonNoPool
	closer := func(reason clarion.Reason) {
		order := []clarion.Reason{
			clarion.ReasonPoolExhausted, clarion.ReasonQuotaReached, clarion.ReasonFamilyMismatch,
			clarion.ReasonPoolDeleting, clarion.ReasonPoolNotReady, clarion.ReasonNoPool,
		}
		if slices.Index(order, reason) < slices.Index(order, closest) {
			closest = reason
		}
	}
	for _, p := range w.pools {
		if r.Pool != "" && p.Name != r.Pool {
			continue
		}
		if reason := w.mayServe(p, r, r.Pool != ""); reason != "" {
			closer(reason)
			continue
		}
		candidates = append(candidates, p)
	}
	slices.SortFunc(candidates, func(a, b Pool) int {
		rank := func(p Pool) int {
			switch {
			case p.For == nil:
				return 2_000_000
			case p.For.Priority == 0:
				return 1_999_999
			}
			return int(p.For.Priority)
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
	})

	has := func(p Pool, f Family) clarion.Reason {
		_, joins := w.join(p, f, r, target)
		switch {
		case w.capacity(p, f) == 0:
			if slices.ContainsFunc(p.Ranges, func(r netipx.IPRange) bool { return FamilyOf(r.From()) == f }) {
				return clarion.ReasonPoolExhausted
			}
			return clarion.ReasonFamilyMismatch
		case joins:
			return ""
		case len(w.open(p, f, r.Service)) == 0:
			return clarion.ReasonPoolExhausted
		case !w.quotaLeft(p, r, target, 1):
			return clarion.ReasonQuotaReached
		}
		return ""
	}
	give := func(p Pool, f Family) (joins bool) {
		a, joins := w.join(p, f, r, target)
		if !joins {
			a = w.open(p, f, r.Service)[0]
		}
		target = append(target, hold{addr: a, pool: p.Name})
		return joins
	}
	if len(missing) == 2 {
		var best []hold
		most := -1
		for _, p := range candidates {
			before := target
			shared := 0
			if has(p, missing[0]) == "" {
				shared += b2i(give(p, missing[0]))
				if has(p, missing[1]) == "" {
					shared += b2i(give(p, missing[1]))
					if shared > most {
						best, most = slices.Clone(target), shared
					}
				}
			}
			target = before
		}
		if best != nil {
			return w.ordered(r, wanted, best), ""
		}
	}
	type try struct {
		target  []hold
		left    []Family
		reasons []clarion.Reason
		loses   bool
	}
	each := func(missing []Family) (t try) {
		before := slices.Clone(target)
		defer func() { target = before }()
	families:
		for _, f := range missing {
			order := slices.Clone(candidates)
			slices.SortStableFunc(order, func(a, b Pool) int { // where others share first
				_, x := w.join(a, f, r, target)
				_, y := w.join(b, f, r, target)
				return b2i(y) - b2i(x)
			})
			if len(target) == 1 { // the pool of the other address first
				slices.SortStableFunc(order, func(a, b Pool) int {
					return b2i(b.Name == target[0].pool) - b2i(a.Name == target[0].pool)
				})
			}
			for _, p := range order {
				if has(p, f) == "" {
					give(p, f)
					continue families
				}
			}
			t.left = append(t.left, f)
		}
		for _, f := range t.left {
			for _, p := range candidates {
				reason := has(p, f)
				t.reasons = append(t.reasons, reason)
				if w.capacity(p, f) > 0 && w.shows(r, f) {
					t.loses = true
				}
			}
		}
		t.target = slices.Clone(target)
		return t
	}
	best := each(missing)
	if len(best.left) > 0 && len(missing) == 2 {
		slices.Reverse(missing)
		if other := each(missing); len(other.left) == 0 || best.loses && !other.loses {
			best = other
		}
	}
	target = best.target
	if len(best.left) == 0 {
		return w.ordered(r, wanted, target), ""
	}
	for _, reason := range best.reasons {
		closer(reason)
	}
	loses := best.loses
	if r.Policy == PreferDualStack && len(target) > 0 && !loses {
		return w.ordered(r, wanted, target), ""
	}
	if r.Pool == "" && (closest == clarion.ReasonPoolDeleting || closest == clarion.ReasonPoolNotReady) {
		closest = clarion.ReasonNoPool
	}
	return nil, closest
}

// shows: the Service has an address of a family that its status shows, or has shown.
func (w *twin) shows(r Request, f Family) bool {
	return slices.ContainsFunc(w.holds[r.Service], func(h hold) bool {
		how, _ := w.fitting(r, h)
		return how != loses && FamilyOf(h.addr) == f && (h.written || slices.Contains(r.Status.Addresses, h.addr))
	})
}

func (w *twin) mayServe(p Pool, r Request, asked bool) clarion.Reason {
	selects := func(p Pool) bool {
		return p.For == nil || (p.For.Namespace == nil || p.For.Namespace(r.Service.Namespace, r.NamespaceLabels)) &&
			(p.For.Service == nil || p.For.Service(r.Labels))
	}
	switch {
	case p.Invalid != "":
		return clarion.ReasonPoolNotReady
	case p.Deleting:
		return clarion.ReasonPoolDeleting
	case !p.AutoAssign && !asked, !selects(p):
		return clarion.ReasonNoPool
	case p.For == nil && slices.ContainsFunc(w.pools, func(q Pool) bool {
		return q.For != nil && q.For.Exclusive && selects(q)
	}):
		return clarion.ReasonNoPool
	}
	return ""
}

func (w *twin) quotaLeft(p Pool, r Request, target []hold, n int) bool {
	if p.PerNamespace == 0 {
		return true
	}
	has := map[netip.Addr]bool{}
	for k, hs := range w.holds {
		for _, h := range hs {
			if k.Namespace == r.Service.Namespace && h.pool == p.Name && k != r.Service {
				has[h.addr] = true
			}
		}
	}
	for _, h := range target {
		if h.pool == p.Name {
			has[h.addr] = true
		}
	}
	return len(has)+n <= int(p.PerNamespace)
}

func (w *twin) ordered(r Request, wanted []Family, target []hold) []hold {
	by := wanted
	slices.SortFunc(target, func(a, b hold) int {
		return slices.Index(by, FamilyOf(a.addr)) - slices.Index(by, FamilyOf(b.addr))
	})
	var addrs []netip.Addr
	for _, h := range target {
		addrs = append(addrs, h.addr)
	}
	if sameAddrs(addrs, r.Status.Addresses) {
		slices.SortFunc(target, func(a, b hold) int {
			return slices.Index(r.Status.Addresses, a.addr) - slices.Index(r.Status.Addresses, b.addr)
		})
	}
	return target
}
