package ipam

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// What happens to Services that hold something when the controller starts.
func TestAdoption(t *testing.T) {
	lab := []Pool{auto("lab", "1.2.3.0/24 fd00::/120")}
	of := func(service string, asks ...ask) Request {
		r := Request{Service: key(service), Families: []Family{IPv4}, Policy: SingleStack}
		for _, ask := range asks {
			ask(&r)
		}
		return r
	}
	for name, tc := range map[string]struct {
		pools    []Pool
		services []Request         // oldest first
		want     map[string]string // after everybody has been looked at
	}{
		"everybody keeps what they have, whatever the order": {
			pools:    lab,
			services: []Request{of("s1", status("1.2.3.7", "lab")), of("s2"), of("s3", status("1.2.3.0", "lab"))},
			want:     map[string]string{"s1": "1.2.3.7", "s2": "1.2.3.1", "s3": "1.2.3.0"},
		},
		"addresses stay in the order of the status": {
			pools:    lab,
			services: []Request{of("s1", require, status("fd00::7 1.2.3.7", "lab", "lab"))},
			want:     map[string]string{"s1": "fd00::7 1.2.3.7"},
		},
		"addresses that another implementation assigned are taken over where a pool covers them": {
			pools:    lab,
			services: []Request{of("s1", status("1.2.3.7"))},
			want:     map[string]string{"s1": "1.2.3.7"},
		},
		"an address that a pool gave and covers no more stays": {
			pools:    lab,
			services: []Request{of("s1", status("9.9.9.9", "lab"))},
			want:     map[string]string{"s1": "9.9.9.9"},
		},
		"an address that another pool covers by now stays, though a Service that has it asks for the old one": {
			pools: []Pool{auto("lab", "1.2.5.0/24"), auto("new", "1.2.3.0/24")},
			services: []Request{
				of("s1", status("1.2.3.7", "lab"), shares("k"), ports(80)),
				of("s2", status("1.2.3.7", "lab"), shares("k"), ports(443), fromPool("lab")),
				of("s3", status("1.2.3.8", "lab"), fromPool("lab")),
				of("s4", status("1.2.3.9", "lab"), fromPool("new")),
			},
			want: map[string]string{"s1": "1.2.3.7", "s2": "1.2.3.7", "s3": "1.2.3.8", "s4": "1.2.3.9"},
		},
		"an address from a pool that is gone stays": {
			pools:    lab,
			services: []Request{of("s1", status("9.9.9.9", "nine"))},
			want:     map[string]string{"s1": "9.9.9.9"},
		},
		"an address that is neither covered nor marked is left alone": {
			pools:    lab,
			services: []Request{of("s1", status("9.9.9.9"))},
			want:     map[string]string{"s1": "HeldByAnother"},
		},
		"of two on the same address and port the one with our mark stays": {
			pools:    lab,
			services: []Request{of("s1", status("1.2.3.7"), ports(80)), of("s2", status("1.2.3.7", "lab"), ports(80))},
			want:     map[string]string{"s1": "1.2.3.0", "s2": "1.2.3.7"},
		},
		"of two with our mark on the same address and port the older stays": {
			pools:    lab,
			services: []Request{of("s2", status("1.2.3.7", "lab"), ports(80)), of("s1", status("1.2.3.7", "lab"), ports(443, 80))},
			want:     map[string]string{"s2": "1.2.3.7", "s1": "1.2.3.0"},
		},
		"who clashes with nobody but one that has to move stays": {
			pools: lab,
			services: []Request{
				of("s1", status("1.2.3.7", "lab"), ports(80)), of("s2", status("1.2.3.7", "lab"), ports(80, 443)),
				of("s3", status("1.2.3.7", "lab"), ports(443)),
			},
			want: map[string]string{"s1": "1.2.3.7", "s2": "1.2.3.0", "s3": "1.2.3.7"},
		},
		"two on the same address with ports of their own both stay": {
			pools:    lab,
			services: []Request{of("s1", status("1.2.3.7"), ports(80)), of("s2", status("1.2.3.7"), ports(443))},
			want:     map[string]string{"s1": "1.2.3.7", "s2": "1.2.3.7"},
		},
		"what a pool does not serve any more stays": {
			pools:    []Pool{auto("lab", "1.2.3.0/24", forNamespace("others"), avoidingBuggy, deleting)},
			services: []Request{of("s1", status("1.2.3.0", "lab"))},
			want:     map[string]string{"s1": "1.2.3.0"},
		},
		"a pool's name that is not true does not count where pools can tell": {
			pools:    []Pool{auto("lab", "1.2.3.0/24"), auto("gold", "1.2.4.0/24")},
			services: []Request{of("s1", status("1.2.3.7", "gold"), fromPool("lab"))},
			want:     map[string]string{"s1": "1.2.3.7"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.a.SetPools(tc.pools)
			for i := range tc.services {
				tc.services[i].Created = newYear.Add(time.Duration(i) * time.Second)
			}
			shuffled := slices.Clone(tc.services)
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			w.a.Adopt(shuffled)
			for _, r := range tc.services {
				w.requests[r.Service] = &r
			}
			for _, r := range tc.services {
				w.write(w.requests[r.Service])
			}
			for service, want := range tc.want {
				if got := says(w.last[key(service)]); got != want {
					t.Errorf("%s: %q (%s), want %q", service, got, w.last[key(service)].Message, want)
				}
			}
		})
	}
}

// An address that another provider's Service has too is kept, and given to nobody else.
func TestAdoptionBesideAnotherProvider(t *testing.T) {
	w := newWorld(t)
	w.a.SetPools([]Pool{auto("lab", "1.2.3.0/31")})
	w.a.Reserve(key("theirs"), addrs("1.2.3.0"))
	r := w.request(key("s1"))
	status("1.2.3.0", "lab")(r)
	w.a.Adopt([]Request{*r})
	for service, want := range map[string]string{"s1": "1.2.3.0", "s2": "1.2.3.1"} {
		if got := w.assign(service); got != want {
			t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
	w.release("s1")
	if got := w.assign("s3"); got != "PoolExhausted" {
		t.Errorf("s3: %q, though another provider's Service has 1.2.3.0", got)
	}
}

// An address that two Services hold counts once in its pool and once in each namespace's quota.
func TestSharedAddressesCountOnce(t *testing.T) {
	a := New()
	a.SetPools([]Pool{auto("lab", "1.2.3.0/24")})
	var all []Request
	for i, name := range []string{"team-a/1", "team-a/2", "team-b/3"} {
		r := Request{Service: key(name), Families: []Family{IPv4}}
		status("1.2.3.7", "lab")(&r)
		ports(uint16(80 + i))(&r)
		all = append(all, r)
	}
	a.Adopt(all)
	for i, left := range []int64{1, 1, 0} {
		if err := a.Check(); err != nil {
			t.Fatal(err)
		}
		a.Release(all[i].Service)
		if u, _ := a.Usage("lab"); u.IPv4.Assigned != left {
			t.Errorf("%d Services gone: %d addresses in use, want %d", i+1, u.IPv4.Assigned, left)
		}
	}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
}

// sharing adopts Services that have 1.2.3.7 together, each with a port, the older first; alike says that they may.
func sharing(t *testing.T, alike bool, pools ...Pool) *world {
	w := newWorld(t)
	if pools == nil {
		pools = []Pool{auto("lab", "1.2.3.0/24")}
	}
	w.a.SetPools(pools)
	var all []Request
	for i, port := range []uint16{80, 443} {
		r := w.request(key([]string{"s1", "s2"}[i]))
		r.Created = newYear.Add(time.Duration(i) * time.Second)
		ports(port)(r)
		if alike {
			r.SharingKey = "k"
		}
		status("1.2.3.7", "lab")(r)
		all = append(all, *r)
	}
	w.a.Adopt(all)
	return w
}

// Services that may not share an address, but were found to, keep it and are told.
func TestSharersAgainstTheRulesAreTold(t *testing.T) {
	w := sharing(t, false)
	for _, s := range []string{"s1", "s2"} {
		got := w.assign(s)
		d := w.last[key(s)]
		if got != "1.2.3.7" || d.Reason != "SharedAgainstRules" || !slices.Equal(d.Shares, addrs("1.2.3.7")) ||
			!strings.Contains(d.Message, "may not share") {
			t.Errorf("%s: %q, %+v", s, got, d)
		}
	}
	if got := w.assign("s3", ports(8080)); got != "1.2.3.0" {
		t.Errorf("s3: %q", got)
	}
	w.release("s1")
	if d := w.last[key("s2")]; d.Reason != "Assigned" || d.Shares != nil || d.Message != "1.2.3.7 from pool lab" {
		t.Errorf("alone by now, s2 is told %+v", d)
	}
}

// What was tolerated once is not for ever: after both have been as the rules want, the rules hold.
func TestToleranceEnds(t *testing.T) {
	w := sharing(t, false)
	share := func(r *Request) { r.SharingKey = "k" }
	w.assign("s1", share)
	if got := w.assign("s2", share); got != "1.2.3.7" || w.last[key("s2")].Reason != "Assigned" {
		t.Errorf("s2: %q, %s", got, w.last[key("s2")].Reason)
	}
	w.assign("s1")
	if got := w.assign("s2", func(r *Request) { r.SharingKey = "" }); got != "1.2.3.0" {
		t.Errorf("s2: %q", got)
	}
}

// A port that another Service has at an address is the older one's; the younger one moves, or waits where it can't.
func TestThePortOfASharedAddressIsTheOlderOnes(t *testing.T) {
	for name, tc := range map[string]struct {
		alike  bool
		pool   string
		change string
		want   []string // what changes for whom
	}{
		"the younger one takes the older one's port, and moves":     {true, "1.2.3.0/24", "s2", []string{"s2: 1.2.3.0"}},
		"the older one takes the younger one's port, which moves":   {true, "1.2.3.0/24", "s1", []string{"s2: 1.2.3.0"}},
		"the younger one has nowhere to go":                         {true, "1.2.3.7", "s2", []string{"s2: PoolExhausted"}},
		"the younger one, driven out, has nowhere to go":            {true, "1.2.3.7", "s1", []string{"s2: PoolExhausted"}},
		"the same for those that shared against the rules":          {false, "1.2.3.0/24", "s2", []string{"s2: 1.2.3.0"}},
		"the same for those that shared against the rules, older":   {false, "1.2.3.0/24", "s1", []string{"s2: 1.2.3.0"}},
		"the same for those that shared against the rules, nowhere": {false, "1.2.3.7", "s1", []string{"s2: PoolExhausted"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := sharing(t, tc.alike, auto("lab", tc.pool))
			w.assign("s1")
			w.assign("s2")
			got := tc.change + ": " + w.assign(tc.change, ports(443, 80))
			if tc.change == "s1" {
				if got != "s1: 1.2.3.7" {
					t.Errorf("got %q", got)
				}
			} else {
				w.news = append(w.news, got)
			}
			if !slices.Equal(w.news, tc.want) {
				t.Errorf("news %q, want %q", w.news, tc.want)
			}
			if d := w.last[key("s2")]; d.Outcome == Refused {
				w.news = nil
				if w.release("s1"); !slices.Equal(w.news, []string{"s2: 1.2.3.7"}) {
					t.Errorf("when the other one goes: news %q", w.news)
				}
			} else if !strings.HasSuffix(d.Told(), "and the other one is older or was there first") || d.Message != "1.2.3.0 from pool lab" {
				t.Errorf("s2 is told %q", d.Told())
			}
		})
	}
}

// Two that clash from the start, of which one goes before the other has been looked at: that one need not move.
func TestNobodyMovesForAServiceThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.a.SetPools([]Pool{auto("lab", "1.2.3.0/24")})
	for i, s := range []string{"s1", "s2"} {
		r := w.request(key(s))
		r.Created = newYear.Add(time.Duration(i) * time.Second)
		status("1.2.3.7", "lab")(r)
	}
	w.a.Adopt([]Request{*w.request(key("s2")), *w.request(key("s1"))})
	w.release("s1")
	if got := w.assign("s2"); got != "1.2.3.7" {
		t.Errorf("s2: %q", got)
	}
}
