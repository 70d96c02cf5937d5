package ipam

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
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

// However many wait for one address that they ask for, whoever gives it up has one of them tried: to the others it makes no
// difference who has it, as long as it is in the same manner.
func TestTriesForOneAddress(t *testing.T) {
	const n = 1000
	for name, ask := range map[string]func(i int, r *Request){
		"without a key":        func(int, *Request) {},
		"a key each":           func(i int, r *Request) { r.SharingKey = strconv.Itoa(i) },
		"one key and one port": func(_ int, r *Request) { r.SharingKey = "k" },
		"one key, Pods of their own": func(i int, r *Request) {
			r.SharingKey, r.Local, r.Selector = "k", true, map[string]string{"app": strconv.Itoa(i)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := New()
			a.SetPools([]Pool{auto("lab", "10.0.0.0/24")})
			tries := 0
			try := func(k Key) Decision {
				i, _ := strconv.Atoi(k.Name)
				r := Request{Service: k, Families: []Family{IPv4}, Addresses: addrs("10.0.0.7"), Ports: []Port{{"TCP", 80}}}
				ask(i, &r)
				tries++
				d := a.Assign(r)
				a.Settle(k)
				return d
			}
			for i := range n {
				if d := try(key(strconv.Itoa(i))); (d.Outcome == Granted) != (i == 0) {
					t.Fatal(d.Message)
				}
			}
			for i := range n {
				a.Release(key(strconv.Itoa(i)))
				for woken := a.TakeWoken(); len(woken) > 0; woken = a.TakeWoken() {
					for _, k := range woken {
						try(k)
					}
				}
				if i < n-1 && len(a.Holds(key(strconv.Itoa(i+1)))) != 1 {
					t.Fatalf("the Service that has waited longest has nothing when number %d goes", i)
				}
			}
			if tries > 3*n {
				t.Errorf("%d tries for %d Services", tries, n)
			}
		})
	}
}

// Of two ports each is free at half of the addresses that are shared, and both are free at none. However many wait for
// both, each is tried when it comes, and when there is a place.
func TestTriesWherePortsAreFreeApart(t *testing.T) {
	const n = 1000
	a := New()
	a.SetPools([]Pool{auto("lab", "10.0.0.0/22")}) // 1024 addresses
	tries := 0
	requests := map[Key]Request{}
	try := func(name string, list ...uint16) Decision {
		r := Request{Service: key(name), Families: []Family{IPv4}, SharingKey: "k"}
		ports(list...)(&r)
		requests[r.Service] = r
		tries++
		d := a.Assign(r)
		a.Settle(r.Service)
		return d
	}
	few := func(what string, most int) {
		t.Helper()
		for woken := a.TakeWoken(); len(woken) > 0; woken = a.TakeWoken() {
			for _, k := range woken {
				tries++
				a.Assign(requests[k])
				a.Settle(k)
			}
		}
		if tries > most {
			t.Errorf("%s: %d tries, want at most %d", what, tries, most)
		}
		tries = 0
	}
	for i := range 512 {
		try(fmt.Sprint("left", i), 22, 80)
		try(fmt.Sprint("right", i), 22, 443)
	}
	few("those who share", 1024)
	for i := range n {
		if d := try(fmt.Sprint("both", i), 80, 443); d.Outcome == Granted {
			t.Fatalf("it has %v", d.Grants)
		}
	}
	few("those who wait", n)
	for i := range 512 {
		try(fmt.Sprint("left", i), 80) // without its other port: the site goes on having 80
	}
	few("other ports get free", 512)
	for i := range 100 {
		try(fmt.Sprint("left", i), 22) // 80 gets free where 443 is
	}
	few("both get free", 200)
	for i := range n {
		if has := len(a.Holds(key(fmt.Sprint("both", i)))) > 0; has != (i < 100) {
			t.Fatalf("of those who wait, number %d has an address: %t", i, has)
		}
	}
	if err := a.Check(); err != nil {
		t.Error(err)
	}
}

// A namespace that has all that its quota allows may yet share what it has. What Services of other namespaces do at
// theirs, where the key reaches across namespaces, concerns it only in so far as it gets an address thereby, and of those
// who wait for a place in the quota one is tried for each that there is.
func TestTriesWhereAQuotaIsReached(t *testing.T) {
	const n = 1000
	a := New()
	a.SetPools([]Pool{auto("lab", "10.0.0.0/16 fd00::/64", across, quota(2))})
	tries := 0
	requests := map[Key]Request{}
	try := func(k Key, asks ...ask) Decision {
		r, ok := requests[k]
		if !ok {
			r = Request{Service: k, Families: []Family{IPv4}, SharingKey: "k"}
		}
		for _, ask := range asks {
			ask(&r)
		}
		requests[k] = r
		tries++
		d := a.Assign(r)
		a.Settle(k)
		return d
	}
	few := func(what string, most int) {
		t.Helper()
		for woken := a.TakeWoken(); len(woken) > 0; woken = a.TakeWoken() {
			for _, k := range woken {
				try(k)
			}
		}
		if tries > most {
			t.Errorf("%s: %d tries, want at most %d", what, tries, most)
		}
		tries = 0
		if err := a.Check(); err != nil {
			t.Fatal(what, err)
		}
	}
	held := func(namespace string) (has int) {
		for i := range n {
			if len(a.Holds(Key{namespace, fmt.Sprint("waits", i)})) > 0 {
				has++
			}
		}
		return has
	}
	for i := range n {
		try(Key{fmt.Sprint("other", i), "web"}, ports(443))
	}
	for i := range 2 {
		try(Key{"small", fmt.Sprint(i)}, ports(80, 443, 22), shares("")) // all that it may have, and shared with nobody
	}
	few("those who have addresses", n+2)
	for i := range n {
		if d := try(Key{"small", fmt.Sprint("waits", i)}, ports(443)); d.Reason != clarion.ReasonQuotaReached {
			t.Fatal(d.Message)
		}
	}
	few("those who wait", n)
	for i := range n {
		try(Key{fmt.Sprint("other", i), "web"}, ports(8443)) // 443 gets free, where others are
	}
	few("a port gets free at addresses of others", n)
	try(Key{"small", "0"}, ports(80), shares("k")) // where they are
	few("a port gets free at an address of theirs", 3)
	if has := held("small"); has != 1 {
		t.Errorf("%d of them have an address, want 1", has)
	}
	a.Release(Key{"small", "1"})
	few("they may have an address more", 2)
	if has := held("small"); has != 2 {
		t.Errorf("%d of them have an address, want 2", has)
	}

	for i := range n {
		if d := try(Key{"dual", fmt.Sprint("waits", i)}, prefer, shares(""), ports(80)); i > 1 && d.Outcome == Granted {
			t.Fatal(d.Message)
		}
	}
	few("a namespace of dual-stack Services", n)
	a.Release(Key{"dual", "waits0"}) // which had both that the quota allows
	few("one that has both goes", 4)
}

// An edit of a pool concerns those alone in whose answer something would read differently by it.
func TestAnEditConcernsThoseAloneWhomItMayHelp(t *testing.T) {
	says := func(p *Pool) { p.For.Says = fmt.Sprint(p.Name) }
	base := func() []Pool {
		return []Pool{
			auto("public", "10.0.0.0/32"),
			auto("team-b", "10.0.1.0/32", forNamespace("team-b"), says),
			auto("six", "fd00::/127"),
			auto("manual", "10.0.2.0/31", manual),
		}
	}
	waits := map[string][]ask{ // each has found the pools that it may use to be full
		"team-a/any":     nil,
		"team-b/any":     nil,
		"team-a/six":     {v6},
		"team-a/manual":  {fromPool("manual")},
		"team-a/none":    {fromPool("nosuch")},
		"team-a/named":   {wants("10.0.0.0")},
		"team-a/nowhere": {wants("10.9.0.0")},
		"team-a/wrong":   {v6, wants("10.0.0.0")},
	}
	for _, row := range []struct {
		name string
		edit func(pools []Pool) []Pool
		want string
	}{
		{"nothing", func(p []Pool) []Pool { return p }, ""},
		{"another order of pools", func(p []Pool) []Pool { slices.Reverse(p); return p }, ""},
		{"more addresses for team-b", func(p []Pool) []Pool { p[1].Ranges = ranges("10.0.1.0/31"); return p }, "team-b/any"},
		{"more addresses for everybody", func(p []Pool) []Pool { p[0].Ranges = ranges("10.0.0.0/31"); return p },
			"team-a/any team-a/named team-a/six team-b/any"}, // six is told of IPv6 that the pool lacks
		{"more of IPv6", func(p []Pool) []Pool { p[2].Ranges = ranges("fd00::/126"); return p },
			"team-a/any team-a/six team-b/any"},
		{"a quota that nobody has met", func(p []Pool) []Pool { p[0].PerNamespace = 7; return p }, ""},
		{"how far a key reaches, where nobody shares", func(p []Pool) []Pool { p[0].ShareAcross = true; return p }, ""},
		{"which address comes first", func(p []Pool) []Pool { p[0].Random = true; return p }, ""},
		{"the manual pool serves all", func(p []Pool) []Pool { p[3].AutoAssign = true; return p },
			"team-a/any team-a/manual team-a/six team-b/any"},
		{"whom team-b's pool is for", func(p []Pool) []Pool { p[1].For.Says = "another"; return p }, "team-a/any team-a/six team-b/any"},
		{"a new pool", func(p []Pool) []Pool { return append(p, auto("nosuch", "10.0.3.0/32")) },
			"team-a/any team-a/none team-a/six team-b/any"},
		{"a new pool that has what is named", func(p []Pool) []Pool { return append(p, auto("new", "10.9.0.0/32", manual)) },
			"team-a/any team-a/nowhere team-a/six team-b/any"},
		{"a pool goes", func(p []Pool) []Pool { return p[:3] }, "team-a/any team-a/manual team-a/six team-b/any"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.pools(base()...)
			for i, holder := range []string{"x/0", "team-b/1", "x/2", "x/3", "x/4", "x/5"} { // all that there is
				asks := [][]ask{nil, nil, {v6}, {v6}, {fromPool("manual")}, {fromPool("manual")}}[i]
				if got := w.assign(holder, asks...); len(w.a.Holds(key(holder))) == 0 {
					t.Fatalf("%s: %s", holder, got)
				}
			}
			for k, asks := range waits {
				if got := w.assign(k, asks...); len(w.a.Holds(key(k))) > 0 {
					t.Fatalf("%s does not wait: %s", k, got)
				}
			}
			w.a.SetPools(row.edit(base()))
			var woken []string
			for _, k := range w.a.TakeWoken() {
				if len(w.a.Holds(k)) == 0 {
					woken = append(woken, k.Namespace+"/"+k.Name)
				}
			}
			slices.Sort(woken)
			if got := strings.Join(woken, " "); got != row.want {
				t.Errorf("asked again: %q, want %q", got, row.want)
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

// BenchmarkSharersWhoWait has Services come that want two ports under one key, each of which is free at half of the
// addresses, and both at none, and reports what one costs: the same for few and for many.
func BenchmarkSharersWhoWait(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			request := func(name string, i int, list ...uint16) Request {
				r := Request{Service: key(name + strconv.Itoa(i)), Families: []Family{IPv4}, SharingKey: "k"}
				ports(list...)(&r)
				return r
			}
			for b.Loop() {
				b.StopTimer()
				a := New()
				a.SetPools([]Pool{auto("lab", fmt.Sprintf("10.0.0.0-%s", addrOf(numOf(addrs("10.0.0.0")[0]).plus(CountOf(uint64(n-1))))))})
				for i := range n {
					a.Assign(request("has", i, 22, uint16(80+i%2)))
				}
				b.StartTimer()
				for i := range n {
					if d := a.Assign(request("waits", i, 80, 81)); d.Outcome == Granted {
						b.Fatal(d.Message)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/Service")
		})
	}
}

// BenchmarkQuotaAcrossNamespaces has Services come whose namespace has all that its quota allows, where many addresses of
// other namespaces have a place for them, and reports what one costs: the same for few and for many.
func BenchmarkQuotaAcrossNamespaces(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			request := func(namespace, name string, list ...uint16) Request {
				r := Request{Service: Key{namespace, name}, Families: []Family{IPv4}, SharingKey: "k"}
				ports(list...)(&r)
				return r
			}
			for b.Loop() {
				b.StopTimer()
				a := New()
				a.SetPools([]Pool{auto("lab", "10.0.0.0/16", across, quota(int64(n/2)))})
				for i := range n {
					a.Assign(request("other"+strconv.Itoa(i), "web", 443, uint16(i+1000)))
				}
				for i := range n / 2 {
					a.Assign(request("small", "has"+strconv.Itoa(i), 80, 443, 8443))
				}
				b.StartTimer()
				for i := range n {
					if d := a.Assign(request("small", "waits"+strconv.Itoa(i), 80, 8443)); d.Outcome == Granted {
						b.Fatal(d.Message)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/Service")
		})
	}
}
