package ipam

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"
	"pgregory.net/rapid"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "1500", "rapid.steps": "60"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// twin is the slow and obvious Allocator: a list of who holds what, and loops over every address of a small universe.
type twin struct {
	pools   []Pool
	holds   map[Key][]hold
	foreign map[Key][]netip.Addr
}

type hold struct {
	addr             netip.Addr
	pool             string
	leaving, written bool
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

func (w *twin) held(a netip.Addr) bool {
	for _, hs := range w.holds {
		if slices.ContainsFunc(hs, func(h hold) bool { return h.addr == a }) {
			return true
		}
	}
	for _, addrs := range w.foreign {
		if slices.Contains(addrs, a) {
			return true
		}
	}
	return false
}

// free lists the free addresses of a pool, lowest first.
func (w *twin) free(p Pool, f Family) (out []netip.Addr) {
	for _, a := range universe {
		if o := w.owner(a); FamilyOf(a) == f && o != nil && o.Name == p.Name && !p.avoids(a) && !w.held(a) {
			out = append(out, a)
		}
	}
	return out
}

func (w *twin) capacity(p Pool, f Family) (n int) {
	for _, a := range universe {
		if o := w.owner(a); FamilyOf(a) == f && o != nil && o.Name == p.Name && !p.avoids(a) {
			n++
		}
	}
	return n
}

func (w *twin) attribute(a netip.Addr, current string) string {
	if p := w.pool(current); p != nil && !p.Deleting && (p.Invalid != "" || p.covers(a)) {
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
			h.pool = w.attribute(h.addr, h.pool)
		}
	}
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

func (w *twin) adopt(r Request) {
	for i, a := range r.Status.Addresses {
		pool := ""
		if i < len(r.Status.Pools) {
			pool = r.Status.Pools[i]
		}
		if pool = w.attribute(a, pool); pool != "" && !w.held(a) {
			w.holds[r.Service] = append(w.holds[r.Service], hold{addr: a, pool: pool, written: true})
		}
	}
}

func (w *twin) release(k Key) { delete(w.holds, k); delete(w.foreign, k) }

func (w *twin) settle(k Key) {
	w.holds[k] = slices.DeleteFunc(w.holds[k], func(h hold) bool { return h.leaving })
	for i := range w.holds[k] {
		w.holds[k][i].written = true
	}
}

// assign decides and returns the outcome as says does.
func (w *twin) assign(r Request) string {
	if len(w.holds[r.Service]) == 0 && len(r.Status.Addresses) > 0 {
		delete(w.foreign, r.Service)
		if !w.adoptable(r.Status) {
			w.foreign[r.Service] = r.Status.Addresses
			return string(clarion.ReasonHeldByAnother)
		}
		w.adopt(r)
	}
	delete(w.foreign, r.Service)

	target, reason := w.decide(r)
	if reason != "" {
		target = nil
		shown := func(h hold) bool { return slices.Contains(r.Status.Addresses, h.addr) }
		unheard := slices.ContainsFunc(w.holds[r.Service], func(h hold) bool { return shown(h) && !h.written })
		for _, h := range w.holds[r.Service] {
			if unheard && shown(h) || !unheard && h.written {
				target = append(target, h)
			}
		}
	}
	for i := range w.holds[r.Service] {
		h := &w.holds[r.Service][i]
		h.leaving = !slices.ContainsFunc(target, func(t hold) bool { return t.addr == h.addr })
	}
	var got []string
	for _, t := range target {
		got = append(got, t.addr.String())
		if !slices.ContainsFunc(w.holds[r.Service], func(h hold) bool { return t.addr == h.addr }) {
			w.holds[r.Service] = append(w.holds[r.Service], t)
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
			p := w.pool(h.pool)
			gives := p != nil && func() bool { o := w.owner(h.addr); return o != nil && o.Name == p.Name && !p.avoids(h.addr) }()
			switch {
			case FamilyOf(h.addr) != f,
				r.Addresses != nil && !slices.Contains(r.Addresses, h.addr),
				r.Pool != "" && h.pool != r.Pool,
				p != nil && p.Invalid == "" && p.ReleaseOrphans && (p.Deleting || !gives):
				continue
			}
			rank := 2*b2i(!h.leaving) + b2i(slices.Contains(r.Status.Addresses, h.addr))
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
		for _, f := range missing {
			a := r.Addresses[slices.IndexFunc(r.Addresses, func(a netip.Addr) bool { return FamilyOf(a) == f })]
			o := w.owner(a)
			switch {
			case o == nil && slices.ContainsFunc(w.pools, func(p Pool) bool { return lists(p.Ranges, a) }):
				return nil, clarion.ReasonAddressExcluded
			case o == nil, r.Pool != "" && o.Name != r.Pool:
				return nil, clarion.ReasonAddressNotInPool
			}
			if reason := w.mayServe(*o, r, true); reason != "" {
				return nil, reason
			}
			switch {
			case o.avoids(a):
				return nil, clarion.ReasonAddressExcluded
			case w.held(a):
				return nil, clarion.ReasonAddressInUse
			case !w.quotaLeft(*o, r, target, 1):
				return nil, clarion.ReasonQuotaReached
			}
			target = append(target, hold{addr: a, pool: o.Name})
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
		switch {
		case w.capacity(p, f) == 0:
			return clarion.ReasonFamilyMismatch
		case len(w.free(p, f)) == 0:
			return clarion.ReasonPoolExhausted
		case !w.quotaLeft(p, r, target, 1):
			return clarion.ReasonQuotaReached
		}
		return ""
	}
	give := func(p Pool, f Family) {
		target = append(target, hold{addr: w.free(p, f)[0], pool: p.Name})
	}
	if len(missing) == 2 {
		for _, p := range candidates {
			if has(p, IPv4) == "" && has(p, IPv6) == "" && w.quotaLeft(p, r, target, 2) {
				give(p, IPv4)
				give(p, IPv6)
				return w.ordered(r, wanted, target), ""
			}
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
				if reason != clarion.ReasonFamilyMismatch && slices.ContainsFunc(w.holds[r.Service], func(h hold) bool {
					return FamilyOf(h.addr) == f && (h.written || slices.Contains(r.Status.Addresses, h.addr))
				}) {
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

func (w *twin) mayServe(p Pool, r Request, asked bool) clarion.Reason {
	selects := func(p Pool) bool {
		return p.For == nil || (p.For.Namespace == nil || p.For.Namespace(r.Service.Namespace, nil)) &&
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
		return q.Invalid == "" && q.For != nil && q.For.Exclusive && selects(q)
	}):
		return clarion.ReasonNoPool
	}
	return ""
}

func (w *twin) quotaLeft(p Pool, r Request, target []hold, n int) bool {
	if p.PerNamespace == 0 {
		return true
	}
	for k, hs := range w.holds {
		for _, h := range hs {
			if k.Namespace == r.Service.Namespace && h.pool == p.Name && k != r.Service {
				n++
			}
		}
	}
	for _, h := range target {
		if h.pool == p.Name {
			n++
		}
	}
	return n <= int(p.PerNamespace)
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

// Everything that happens to an Allocator happens to its twin too, and both must say the same, step by step. Beside
// that, after every step the invariants hold and nobody is left behind: whoever would be answered differently by now
// has been woken.
func TestTwins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &twins{
			T:        t,
			a:        New(),
			w:        &twin{holds: map[Key][]hold{}, foreign: map[Key][]netip.Addr{}},
			requests: map[Key]*Request{},
		}
		m.edit(t)
		t.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"ask":           m.ask,
			"ask ":          m.ask,
			"ask  ":         m.ask,
			"ask in vain":   m.askInVain,
			"release":       m.release,
			"edit":          m.edit,
			"restart":       m.restart,
			"another's":     m.another,
			"status edited": m.statusEdited,
		})
	})
}

type twins struct {
	*rapid.T
	a        *Allocator
	w        *twin
	requests map[Key]*Request
}

func anyPools(t *rapid.T) (out []Pool) {
	for i, name := range []string{"a", "b", "c", "d"} {
		if !rapid.Bool().Draw(t, name) {
			continue
		}
		p := Pool{
			Name:          name,
			Created:       time.Unix(int64(rapid.IntRange(0, 2).Draw(t, "made")), 0),
			AvoidBuggyIPs: rapid.Bool().Draw(t, "avoidBuggyIPs"),
			AutoAssign:    rapid.IntRange(0, 3).Draw(t, "autoAssign") > 0,
			PerNamespace:  int64(rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "quota")),
			Deleting:      rapid.IntRange(0, 5).Draw(t, "deleting") == 0,
		}
		for range rapid.IntRange(1, 3).Draw(t, "ranges") {
			p.Ranges = append(p.Ranges, anyRange(t))
		}
		if rapid.Bool().Draw(t, "excludes") {
			p.Exclude = append(p.Exclude, anyRange(t))
		}
		if rapid.IntRange(0, 2).Draw(t, "for") == 0 {
			p.For = &Audience{
				Priority:  int32(rapid.IntRange(0, 2).Draw(t, "priority")),
				Exclusive: rapid.Bool().Draw(t, "exclusive"),
			}
			if only := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "namespace"); only != "" {
				p.For.Namespace = func(n string, _ map[string]string) bool { return n == only }
			}
			if rapid.IntRange(0, 3).Draw(t, "labels") == 0 {
				p.For.Service = func(l map[string]string) bool { return l["tier"] == "gold" }
			}
		}
		p.ReleaseOrphans = rapid.IntRange(0, 3).Draw(t, "releases") == 0
		if rapid.IntRange(0, 7).Draw(t, "invalid") == 0 {
			p.Ranges, p.Exclude, p.Invalid = nil, nil, fmt.Sprintf("reason %d", i)
		}
		out = append(out, p)
	}
	return out
}

func anyRange(t *rapid.T) netipx.IPRange {
	from := rapid.IntRange(0, len(universe)-1).Draw(t, "from")
	to := min(len(universe)-1, from+rapid.IntRange(0, 7).Draw(t, "length"))
	for universe[from].Is4() != universe[to].Is4() {
		to--
	}
	return netipx.IPRangeFrom(universe[from], universe[to])
}

func (m *twins) key(t *rapid.T) Key {
	return Key{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "namespace"), rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6"}).Draw(t, "name")}
}

func (m *twins) draw(t *rapid.T) *Request {
	k := m.key(t)
	r := m.requests[k]
	if r == nil {
		r = &Request{Service: k}
		m.requests[k] = r
	} else if rapid.Bool().Draw(t, "same again") {
		return r
	}
	r.Families = rapid.SampledFrom([][]Family{{IPv4}, {IPv6}, {IPv4, IPv6}, {IPv6, IPv4}, {IPv4, IPv6}}).Draw(t, "families")
	r.Policy = rapid.SampledFrom([]Policy{SingleStack, PreferDualStack, RequireDualStack}).Draw(t, "policy")
	r.Pool = rapid.SampledFrom([]string{"", "", "", "a", "b", "c", "d"}).Draw(t, "pool")
	r.Labels = map[string]string{"tier": rapid.SampledFrom([]string{"gold", "iron"}).Draw(t, "tier")}
	r.Addresses = nil
	if rapid.IntRange(0, 3).Draw(t, "asks for addresses") == 0 {
		r.Addresses = rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 1, 2, rapid.ID[netip.Addr]).Draw(t, "addresses")
	}
	return r
}

// compare asks both and compares.
func (m *twins) compare(r Request) Decision {
	d := m.a.Assign(r)
	if got, want := says(d), m.w.assign(r); got != want {
		m.Fatalf("%s: got %q (%s), the twin says %q\nrequest %+v", r.Service, got, d.Message, want, r)
	}
	m.Logf("%s: %s", r.Service, d.Message)
	return d
}

func (m *twins) write(r *Request, d Decision) {
	if d.Foreign {
		return
	}
	r.Status = Status{}
	for _, g := range d.Grants {
		r.Status.Addresses = append(r.Status.Addresses, g.Address)
		r.Status.Pools = append(r.Status.Pools, g.Pool)
	}
	m.a.Settle(r.Service)
	m.w.settle(r.Service)
}

func (m *twins) ask(t *rapid.T) {
	r := m.draw(t)
	m.write(r, m.compare(*r))
}

// askInVain decides, and nothing of it reaches the API server.
func (m *twins) askInVain(t *rapid.T) { m.compare(*m.draw(t)) }

func (m *twins) release(t *rapid.T) {
	k := m.key(t)
	m.Logf("%s goes", k)
	delete(m.requests, k)
	m.a.Release(k)
	m.w.release(k)
}

func (m *twins) edit(t *rapid.T) {
	pools := anyPools(t)
	m.Logf("pools are now %+v", pools)
	m.a.SetPools(pools)
	m.w.setPools(pools)
}

// another provider's Service has addresses.
func (m *twins) another(t *rapid.T) {
	k := Key{"z", "theirs"}
	has := rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 0, 2, rapid.ID[netip.Addr]).Draw(t, "has")
	has = slices.DeleteFunc(has, func(a netip.Addr) bool {
		return slices.ContainsFunc(m.w.foreign[k], func(b netip.Addr) bool { return a == b }) || m.w.held(a)
	})
	m.a.Reserve(k, has)
	m.w.release(k)
	if len(has) > 0 {
		m.w.foreign[k] = has
	}
}

// statusEdited has somebody write into the status of a Service.
func (m *twins) statusEdited(t *rapid.T) {
	r := m.draw(t)
	r.Status = Status{Addresses: rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 0, 2, rapid.ID[netip.Addr]).Draw(t, "shows")}
	m.write(r, m.compare(*r))
}

// restart forgets everything and rebuilds it from the statuses, in any order.
func (m *twins) restart(t *rapid.T) {
	pools := m.w.pools
	m.a = New()
	m.a.SetPools(pools)
	m.w = &twin{pools: pools, holds: map[Key][]hold{}, foreign: map[Key][]netip.Addr{}}

	var all []Request
	for _, r := range m.requests {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(x, y Request) int { return x.Service.Compare(y.Service) })
	all = rapid.Permutation(all).Draw(t, "order")
	m.a.Adopt(all)
	slices.SortStableFunc(all, func(x, y Request) int { return b2i(y.Status.Pools != nil) - b2i(x.Status.Pools != nil) })
	for _, r := range all {
		if m.w.adoptable(r.Status) {
			m.w.adopt(r)
		} else {
			m.w.foreign[r.Service] = r.Status.Addresses
		}
	}
	for _, r := range all { // then everybody is looked at once
		before := r.Status
		d := m.compare(r)
		m.write(m.requests[r.Service], d)
		if d.Outcome == Granted && before.Pools != nil && !sameAddrs(before.Addresses, m.requests[r.Service].Status.Addresses) {
			continue // it had not been answered by its last request yet
		}
	}
}

func (m *twins) check(t *rapid.T) {
	for rounds := 0; ; rounds++ {
		if err := m.a.Check(); err != nil {
			t.Fatal(err)
		}
		woken := m.a.TakeWoken()
		if len(woken) == 0 {
			break
		}
		if rounds > 1000 {
			t.Fatal("Services wake each other without end")
		}
		for _, k := range woken {
			if r := m.requests[k]; r != nil {
				m.write(r, m.compare(*r))
			} else {
				m.a.Release(k)
				m.w.release(k)
			}
		}
	}
	for _, p := range m.w.pools {
		u, _ := m.a.Usage(p.Name)
		for i, got := range []FamilyUsage{u.IPv4, u.IPv6} {
			f := Family(i)
			if want := m.w.capacity(p, f); p.Invalid == "" && got.Capacity != CountOf(uint64(want)) {
				t.Fatalf("pool %s has capacity %s, the twin says %d", p.Name, got.Capacity, want)
			}
			if want := len(m.w.free(p, f)); got.Available != CountOf(uint64(want)) {
				t.Fatalf("pool %s has %s available, the twin says %d", p.Name, got.Available, want)
			}
		}
	}
	// Nobody who has been answered and written is left behind.
	for k, r := range m.requests {
		if slices.ContainsFunc(m.w.holds[k], func(h hold) bool { return h.leaving || !h.written }) || m.w.foreign[k] != nil {
			continue
		}
		if _, known := m.a.waiting.byKey[k]; !known && len(m.w.holds[k]) == 0 {
			continue // asked in vain, or never
		}
		d := m.a.Explain(*r)
		var shown []string
		for _, g := range d.Grants {
			shown = append(shown, g.Address.String())
		}
		if got, want := strings.Join(shown, " "), strings.ReplaceAll(listAddrs(r.Status.Addresses), ",", ""); got != want && d.Outcome == Granted {
			if w := m.a.waiting.byKey[k]; w == nil || !w.woken {
				t.Fatalf("%s would get %q now, has %q and sleeps", k, got, want)
			}
		}
	}
}
