package ipam

import (
	"slices"
	"testing"
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
			w.a.Adopt(tc.services)
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

// Two Services that share an address, as another provider let them, and one comes to want a port of the other.
func TestAdoptedSharersKeepToTheirPorts(t *testing.T) {
	w := newWorld(t)
	w.a.SetPools([]Pool{auto("lab", "1.2.3.0/24")})
	for service, port := range map[string]uint16{"s1": 80, "s2": 443} {
		r := w.request(key(service))
		ports(port)(r)
		status("1.2.3.7")(r)
	}
	w.a.Adopt([]Request{*w.request(key("s1")), *w.request(key("s2"))})
	is := func(service, want string, asks ...ask) {
		t.Helper()
		if got := w.assign(service, asks...); got != want {
			t.Errorf("%s: %q (%s), want %q", service, got, w.last[key(service)].Message, want)
		}
	}
	news := func(want ...string) {
		t.Helper()
		if !slices.Equal(w.news, want) {
			t.Errorf("news %q, want %q", w.news, want)
		}
		w.news = nil
	}
	const refused = "AddressInUse, keeps 1.2.3.7"
	is("s1", "1.2.3.7")
	is("s2", "1.2.3.7")
	is("s2", refused, ports(443, 80))
	is("s1", "1.2.3.7")
	is("s1", refused, ports(443))
	is("s1", "1.2.3.7", ports(8080))
	news("s2: 1.2.3.7")
	is("s2", refused, ports(8080))
	is("s2", "1.2.3.0", wants("1.2.3.0"))
	is("s2", "AddressInUse, keeps 1.2.3.0", wants("1.2.3.7"))
	is("s1", "1.2.3.9", wants("1.2.3.9"))
	news("s2: 1.2.3.7")
}

// Who has to keep from a port is let have it when the other Service goes.
func TestAPortIsFreeWhenItsSharerGoes(t *testing.T) {
	w := newWorld(t)
	w.a.SetPools([]Pool{auto("lab", "1.2.3.0/24")})
	for service, port := range map[string]uint16{"s1": 80, "s2": 443} {
		r := w.request(key(service))
		ports(port)(r)
		status("1.2.3.7", "lab")(r)
	}
	w.a.Adopt([]Request{*w.request(key("s1")), *w.request(key("s2"))})
	if got := w.assign("s2", ports(80)); got != "AddressInUse, keeps 1.2.3.7" {
		t.Errorf("s2: %q", got)
	}
	w.release("s1")
	if want := []string{"s2: 1.2.3.7"}; !slices.Equal(w.news, want) {
		t.Errorf("news %q, want %q", w.news, want)
	}
}
