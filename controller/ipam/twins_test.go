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
)

// TestMain has a walk of 60 steps made 3400 times, 200,000 steps in all, always the same ones: a change is judged by
// what it changes. New ones are made with -rapid.seed=0 and, say, -rapid.checks=50000.
func TestMain(m *testing.M) {
	flag.Parse()
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]string{"rapid.checks": "3400", "rapid.steps": "60", "rapid.seed": "1"} {
		if !given[name] {
			if err := flag.Set(name, value); err != nil {
				panic(err)
			}
		}
	}
	os.Exit(m.Run())
}

// Everything that happens to an Allocator happens to its twin too, and both must say the same, step by step. Beside
// that, after every step the invariants hold and nobody is left behind: whoever would be answered differently by now
// has been woken.
func TestTwins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &twins{
			T:        t,
			a:        New(),
			w:        newTwin(nil),
			requests: map[Key]*Request{},
			labels:   map[string]map[string]string{},
			told:     map[Key]Decision{},
		}
		m.a.lookAt = rapid.SampledFrom([]int{0, 1, lookAt}).Draw(t, "look at")
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
			"time passes":   m.timePasses,
			"nodes come":    m.reserve,
			"labels change": m.relabel,
		})
	})
}

type twins struct {
	*rapid.T
	a        *Allocator
	w        *twin
	requests map[Key]*Request
	labels   map[string]map[string]string // of namespaces
	told     map[Key]Decision             // by the last answer
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
			only := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "namespace")
			if only != "" {
				p.For.Namespace = func(n string, _ map[string]string) bool { return n == only }
			}
			trusted := rapid.IntRange(0, 3).Draw(t, "trusted") == 0
			if trusted {
				p.For.Namespace = func(n string, l map[string]string) bool { return (only == "" || n == only) && l["trusted"] != "" }
			}
			if rapid.IntRange(0, 3).Draw(t, "labels") == 0 {
				p.For.Service = func(l map[string]string) bool { return l["tier"] == "gold" }
			}
			if rapid.Bool().Draw(t, "says") {
				p.For.Says = fmt.Sprint("namespace ", only, trusted, p.For.Service != nil)
			}
		}
		p.ShareAcross = rapid.Bool().Draw(t, "shareAcross")
		p.ReuseDelay = time.Duration(rapid.SampledFrom([]int{0, 0, 3, 10}).Draw(t, "reuseDelay")) * time.Second
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
		r = &Request{Service: k, Created: time.Unix(int64(rapid.IntRange(0, 1).Draw(t, "created")), 0), NamespaceLabels: m.labels[k.Namespace]}
		m.requests[k] = r
	} else if rapid.Bool().Draw(t, "same again") {
		return r
	}
	r.Families = rapid.SampledFrom([][]Family{{IPv4}, {IPv6}, {IPv4, IPv6}, {IPv6, IPv4}, {IPv4, IPv6}}).Draw(t, "families")
	r.Policy = rapid.SampledFrom([]Policy{SingleStack, PreferDualStack, RequireDualStack}).Draw(t, "policy")
	r.Pool = rapid.SampledFrom([]string{"", "", "", "a", "b", "c", "d"}).Draw(t, "pool")
	r.Labels = map[string]string{"tier": rapid.SampledFrom([]string{"gold", "iron"}).Draw(t, "tier")}
	r.Ports = rapid.SampledFrom([][]Port{{{"TCP", 80}}, {{"TCP", 80}}, {{"TCP", 443}}, {{"UDP", 80}}, {{"TCP", 80}, {"TCP", 443}}, nil}).Draw(t, "ports")
	r.SharingKey = rapid.SampledFrom([]string{"", "k", "k", "j"}).Draw(t, "key")
	r.Local = rapid.IntRange(0, 3).Draw(t, "local") == 0
	r.Selector = rapid.SampledFrom([]map[string]string{{"app": "a"}, {"app": "a"}, {"app": "b"}, nil}).Draw(t, "selector")
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
	m.told[r.Service] = d
	for k := range m.requests {
		if k != r.Service && strings.Contains(d.Message, k.String()) {
			m.Fatalf("%s is told of %s: %s", r.Service, k, d.Message)
		}
	}
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

// relabel gives a namespace a label, or takes it away.
func (m *twins) relabel(t *rapid.T) {
	name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "namespace")
	if m.labels[name] == nil {
		m.labels[name] = map[string]string{"trusted": "yes"}
	} else {
		delete(m.labels, name)
	}
	m.Logf("the labels of %s are %v", name, m.labels[name])
	for k, r := range m.requests {
		if k.Namespace == name {
			r.NamespaceLabels = m.labels[name]
		}
	}
	m.a.NamespaceChanged(name)
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
	m.w.tidy()
}

func (m *twins) timePasses(t *rapid.T) {
	m.w.now = m.w.now.Add(time.Duration(rapid.IntRange(0, 6).Draw(t, "seconds")) * time.Second)
	m.w.tidy()
	var want time.Time
	for _, r := range m.w.rests {
		if want.IsZero() || r.Until.Before(want) {
			want = r.Until
		}
	}
	if next := m.a.Advance(m.w.now); !next.Equal(want) {
		m.Fatalf("the next address is free at %s, the twin says %s", next, want)
	}
}

// reserve has the cluster's own network need other addresses.
func (m *twins) reserve(t *rapid.T) {
	before := m.w.reserved
	m.w.reserved = rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 0, 3, rapid.ID[netip.Addr]).Draw(t, "reserved")
	m.a.SetReserved(reservedOf(m.w.reserved))
	if slices.ContainsFunc(universe, func(a netip.Addr) bool { // what no pool lists is no edit of one
		return slices.Contains(before, a) != slices.Contains(m.w.reserved, a) && m.w.owner(a) != nil
	}) {
		m.w.setPools(m.w.pools)
	}
}

func reservedOf(addrs []netip.Addr) (out []Reserved) {
	for _, a := range addrs {
		out = append(out, Node{Name: "n", Addresses: []netip.Addr{a}}.Reserved()...)
	}
	return out
}

// statusEdited has somebody write into the status of a Service.
func (m *twins) statusEdited(t *rapid.T) {
	r := m.draw(t)
	r.Status = Status{Addresses: rapid.SliceOfNDistinct(rapid.SampledFrom(universe), 0, 2, rapid.ID[netip.Addr]).Draw(t, "shows")}
	m.write(r, m.compare(*r))
}

// restart forgets everything and rebuilds it from the statuses, in any order.
func (m *twins) restart(t *rapid.T) {
	before := m.w
	var rests []Rest
	for _, p := range before.pools {
		rests = append(rests, m.a.Resting(p.Name)...)
	}
	lookAt := m.a.lookAt
	m.a, m.w = New(), newTwin(before.pools)
	m.a.lookAt = lookAt
	m.w.now, m.w.reserved, m.w.rests = before.now, before.reserved, before.rests
	m.a.SetPools(before.pools)
	m.a.SetReserved(reservedOf(before.reserved))
	m.a.Advance(before.now)
	early := rapid.Bool().Draw(t, "rests first")
	if early {
		m.a.RestoreResting(rests)
	}

	var all []Request
	for _, r := range m.requests {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(x, y Request) int { return x.Service.Compare(y.Service) })
	all = rapid.Permutation(all).Draw(t, "order")
	m.a.Adopt(all)
	if !early {
		m.a.RestoreResting(rests)
	}
	slices.SortFunc(all, func(x, y Request) int {
		return cmp.Or(b2i(y.Status.Pools != nil)-b2i(x.Status.Pools != nil), b2i(older(y, x))-b2i(older(x, y)))
	})
	m.w.batch = all
	for _, r := range all {
		if m.w.adoptable(r.Status) {
			m.w.adopt(r, true)
		} else {
			m.w.foreign[r.Service] = r.Status.Addresses
		}
	}
	m.w.tidy()
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
		m.stillTrue(t, k, d)
	}
}

// stillTrue verifies that what a Service was told that waits is true by now: that it would be told the same. Where it was
// told of a quota, or waits for two families, there may be more by now that stands in its way.
func (m *twins) stillTrue(t *rapid.T, k Key, now Decision) {
	told := m.told[k]
	w := m.a.waiting.byKey[k]
	if w == nil || w.woken || len(m.requests[k].Families) > 1 || strings.Contains(told.Message, "quota") {
		return
	}
	said, _, aPort := strings.Cut(told.Message, " and a port of this one there (") // there may be more of them
	if now.Reason != told.Reason || now.Message != told.Message && !(aPort && strings.HasPrefix(now.Message, said)) {
		t.Fatalf("%s was told %s: %s\nand sleeps, though by now it would be told %s: %s", k, told.Reason, told.Message, now.Reason, now.Message)
	}
}
