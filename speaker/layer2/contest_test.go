package layer2

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

var (
	foreignMAC = MAC{0x02, 0, 0, 0, 0, 0x66}
	nodeMAC    = MAC{0x02, 0, 0, 0, 0, 0x77}
)

// claim is a first claim of addresses.
func claim(iface string, mode ConflictMode, addresses ...netip.Addr) []Announcement {
	all := on(iface, addresses...)
	for i := range all {
		all[i].Claim, all[i].Conflicts = true, mode
	}
	return all
}

// says is the frame by which a host answers a probe of address.
func says(mac MAC, address netip.Addr) []byte {
	if address.Is4() {
		return appendARPReply(nil, mac, mac, question{address: address, asker: netip.IPv4Unspecified(), askerMAC: ourMAC})
	}
	return appendNeighborAdvertisement(nil, mac, mac, question{address: address, asker: netip.IPv6Unspecified(), askerMAC: ourMAC})
}

// answersLook is the frame by which a host answers the look of who has an address.
func answersLook(mac MAC, address netip.Addr) []byte {
	if address.Is4() {
		return says(mac, address)
	}
	return appendNeighborAdvertisement(nil, mac, mac, question{address: address, asker: ourLinkLocal, askerMAC: ourMAC})
}

// probed returns the addresses that were asked for since it was asked last.
func (p *fakePort) probed() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []netip.Addr
	for _, f := range p.asked {
		if p.segment.family == IPv4 {
			all = append(all, netip.AddrFrom4([4]byte(f[arpTargetAddress:])))
		} else {
			all = append(all, netip.AddrFrom16([16]byte(f[nsTarget:])))
		}
	}
	p.asked = nil
	return all
}

func (p *fakePort) hear(frame []byte) { p.ask(frame) }

// conflicts is what the state tells of an address.
func (w *world) conflicts(address netip.Addr) []Conflict {
	s, _ := w.State()
	all := s.Conflicts(address)
	for i := range all {
		all[i].Since = time.Time{}
	}
	return all
}

// eachFamily runs a story of claims with an address of each family, on a segment whose port is p.
func eachFamily(t *testing.T, story func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr)) {
	for _, vip := range bothAddresses {
		t.Run(FamilyOf(vip).String(), func(t *testing.T) {
			inWorldOf(t, Options{RefreshInterval: -1}, func(w *world) {
				w.t = t
				l := link("eth0", 2, ourMAC)
				l.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/64")}
				w.SetKnown([]MAC{nodeMAC})
				w.see(l)
				story(t, w, func() *fakePort { return w.port("eth0", FamilyOf(vip)) }, vip)
			})
		})
	}
}

var bothAddresses = []netip.Addr{vip4, vip6}

// longest is how long a claim may take.
func longest(vip netip.Addr) time.Duration {
	if vip.Is4() {
		return 300 * time.Millisecond
	}
	return time.Second
}

func (w *world) answers(p *fakePort, vip netip.Addr) bool {
	w.t.Helper()
	return len(p.ask(clientRequest(clientMAC, vip))) > 0
}

func TestAFirstClaimIsPrecededByProbes(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", "", vip)...)
		if s, _ := w.State(); !slices.Equal(s.Segments[0].Claiming, []netip.Addr{vip}) || len(s.Segments[0].Answered) > 0 {
			t.Errorf("state is %+v", s)
		}
		w.after(longest(vip) - 60*time.Millisecond)
		if w.answers(p(), vip) || p().announced() > 0 {
			t.Error("it is answered, or announced, before it is known to be free")
		}
		if got := p().probed(); !slices.Equal(got, []netip.Addr{vip, vip, vip}) {
			t.Errorf("asked for %v", got)
		}
		w.after(60 * time.Millisecond)
		if s, _ := w.State(); !w.answers(p(), vip) || p().announced() == 0 || len(s.Segments[0].Claiming) > 0 || s.Answering(vip) == nil {
			t.Errorf("it is not answered after %v: %+v", longest(vip), s)
		}
	})
}

func TestAnAddressOfAForeignHostIsWithheldAndTriedAgain(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		w.after(60 * time.Millisecond)
		p().hear(says(foreignMAC, vip))
		w.after(time.Second)
		want := []Conflict{{Address: vip, Kind: ForeignHost, MAC: foreignMAC, Withheld: true}}
		if got := w.conflicts(vip); !slices.Equal(got, want) || w.answers(p(), vip) || p().announced() > 0 {
			t.Fatalf("conflicts are %+v, and it is answered or announced", got)
		}
		// The foreign host answers a few more times, then it is gone.
		probes := 0
		for range 60 {
			got := p().probed()
			if slices.Contains(got, vip) {
				probes++
				if probes < 3 {
					p().hear(says(foreignMAC, vip))
				}
			}
			w.after(2 * time.Second)
		}
		if probes < 3 || probes > 6 {
			t.Errorf("it was claimed %d times in two minutes", probes)
		}
		if got := w.conflicts(vip); len(got) > 0 || !w.answers(p(), vip) {
			t.Errorf("conflicts are %+v, though the other host is gone", got)
		}
	})
}

func TestANodeThatAnswersBlocksNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		w.after(60 * time.Millisecond)
		p().hear(says(nodeMAC, vip))
		w.after(longest(vip))
		if got := w.conflicts(vip); len(got) > 0 || !w.answers(p(), vip) {
			t.Errorf("conflicts are %+v, or it is not answered", got)
		}
	})
}

// A node that goes on answering though the address is another's is no hand-over: it is kube-proxy's.
func TestANodeThatGoesOnAnsweringIsTold(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		var told time.Duration
		answer := func(until time.Duration) {
			for at := time.Duration(0); at < until; at += 50 * time.Millisecond {
				if slices.Contains(p().probed(), vip) {
					p().hear(answersLook(nodeMAC, vip))
				}
				w.after(50 * time.Millisecond)
				if told == 0 && len(w.conflicts(vip)) > 0 {
					told = at
				}
			}
		}
		answer(20 * time.Second)
		want := []Conflict{{Address: vip, Kind: KubeProxyAnswersARP, MAC: nodeMAC}}
		if got := w.conflicts(vip); !slices.Equal(got, want) || !w.answers(p(), vip) || told < 4*time.Second || told > 12*time.Second {
			t.Errorf("conflicts are %+v, told after %v", got, told)
		}
		w.after(2 * time.Minute)
		if got := w.conflicts(vip); len(got) > 0 {
			t.Errorf("it is told still though nobody answers: %+v", got)
		}
	})
}

func TestAProxyIsNamedAndIgnored(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		canaries := 0
		for range 50 {
			for _, a := range p().probed() {
				p().hear(says(foreignMAC, a))
				if a != vip {
					canaries++
					if network := netip.MustParsePrefix("192.0.2.0/24"); vip.Is4() && !network.Contains(a) {
						t.Errorf("%v is no address of %v", a, network)
					}
				}
			}
			w.after(20 * time.Millisecond)
		}
		s, _ := w.State()
		if got := s.Segments[0].Proxies; !slices.Equal(got, []MAC{foreignMAC}) || len(w.conflicts(vip)) > 0 || canaries == 0 {
			t.Errorf("proxies are %v, conflicts %+v, after %d canaries", got, w.conflicts(vip), canaries)
		}
		w.after(longest(vip))
		if !w.answers(p(), vip) {
			t.Error("it is not answered")
		}
		// The next address costs no trial.
		w.apply(claim("eth0", ConflictEnforce, vip, vip.Next())...)
		p().probed()
		for range 20 {
			w.after(longest(vip) / 10)
			for _, a := range p().probed() {
				if p().hear(says(foreignMAC, a)); a != vip && a != vip.Next() {
					t.Errorf("asked for the canary %v", a)
				}
			}
		}
		if !w.answers(p(), vip.Next()) {
			t.Error("the next address is not answered")
		}
	})
}

func TestALaterClaimIsDefendedAndTold(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(on("eth0", vip)...)
		w.after(10 * time.Second)
		p().announced()
		statement := appendARPAnnouncement(nil, foreignMAC, vip4)
		if vip.Is6() {
			statement = appendUnsolicitedAdvertisement(nil, foreignMAC, netip.MustParseAddr("fe80::66"), vip)
		}
		p().hear(statement)
		if n := p().announced(); n != 1 {
			t.Errorf("defended by %d frames, expected one", n)
		}
		w.after(time.Second)
		want := []Conflict{{Address: vip, Kind: ForeignHost, MAC: foreignMAC}}
		if got := w.conflicts(vip); !slices.Equal(got, want) || !w.answers(p(), vip) {
			t.Errorf("conflicts are %+v", got)
		}
		for range 8 {
			p().hear(statement)
			w.after(time.Second)
		}
		if n := p().announced(); n != 0 {
			t.Errorf("defended %d times more within ten seconds", n)
		}
		w.after(2 * time.Second)
		p().hear(statement)
		if n := p().announced(); n != 1 {
			t.Errorf("defended by %d frames after ten seconds, expected one", n)
		}
		w.after(2 * time.Minute)
		if got := w.conflicts(vip); len(got) > 0 {
			t.Errorf("told still, though there is silence: %+v", got)
		}
	})
}

func TestConflictModes(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictReport, vip)...)
		if !w.answers(p(), vip) {
			t.Error("Report: not answered at once")
		}
		w.after(60 * time.Millisecond)
		p().hear(says(foreignMAC, vip))
		w.after(2 * time.Second)
		if got := w.conflicts(vip); !slices.Equal(got, []Conflict{{Address: vip, Kind: ForeignHost, MAC: foreignMAC}}) || !w.answers(p(), vip) {
			t.Errorf("Report: conflicts are %+v, or it is not answered", got)
		}
		w.apply(claim("eth0", ConflictOff, vip)...)
		p().probed()
		p().hear(says(foreignMAC, vip))
		w.after(5 * time.Minute)
		if got := w.conflicts(vip); len(got) > 0 || len(p().probed()) > 0 || !w.answers(p(), vip) {
			t.Errorf("Off: conflicts are %+v, or it asked, or it is not answered", got)
		}
	})
}

// From standing in to owning and back there is an answer all the time, and no claim.
func TestAStandInTakesOverWithoutAGap(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		standIn := on("eth0", vip)
		standIn[0].HardwareAddr = nodeMAC
		mac := func() MAC {
			m, ok := claims(p().ask(clientRequest(clientMAC, vip)), vip)
			if !ok {
				t.Fatal("no answer")
			}
			return m
		}
		w.apply(standIn...)
		for range 3 {
			if got := mac(); got != nodeMAC {
				t.Errorf("standing in, it answers with %v", got)
			}
			w.after(10 * time.Second)
			if n := p().announced(); n > 0 {
				t.Errorf("a stand-in sent %d announcements", n)
			}
			w.Apply(claim("eth0", ConflictEnforce, vip))
			if got := mac(); got != ourMAC {
				t.Errorf("owning, it answers with %v", got)
			}
			w.after(10 * time.Second)
			if n := p().announced(); n == 0 {
				t.Error("an owner announced nothing")
			}
			w.Apply(standIn)
			synctest.Wait()
			p().announced()
		}
	})
}

// Who stood by has not answered, and so has to ask.
func TestWhoStoodByClaims(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		standby := on("eth0", vip)
		standby[0].Standby = true
		w.apply(standby...)
		if s, _ := w.State(); w.answers(p(), vip) || s.Answering(vip) != nil || vip.Is6() && !p().joined[solicitedNode(vip)] {
			t.Error("who stands by answers, or has not joined the group")
		}
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		if w.answers(p(), vip) {
			t.Error("it answers before it has asked")
		}
		w.after(longest(vip))
		if !w.answers(p(), vip) {
			t.Error("it does not answer in the end")
		}
		w.apply(standby...)
		w.apply(on("eth0", vip)...)
		if !w.answers(p(), vip) {
			t.Error("without Claim it does not answer at once")
		}
	})
}

func TestALinkThatComesBackClaimsAnew(t *testing.T) {
	eachFamily(t, func(t *testing.T, w *world, p func() *fakePort, vip netip.Addr) {
		w.apply(claim("eth0", ConflictEnforce, vip)...)
		w.after(2 * time.Second)
		up := link("eth0", 2, ourMAC)
		w.see(down(up))
		w.see(up)
		if w.answers(p(), vip) {
			t.Error("it answers at once, though the link was down")
		}
		w.after(longest(vip))
		if !w.answers(p(), vip) {
			t.Error("it does not answer in the end")
		}
	})
}

func TestAnotherNodeThatClaimsIsTold(t *testing.T) {
	type rival struct {
		address netip.Addr
		mac     MAC
	}
	heard := make(chan rival, 100)
	inWorldOf(t, Options{Rival: func(_ string, a netip.Addr, m MAC) { heard <- rival{a, m} }}, func(w *world) {
		w.SetKnown([]MAC{nodeMAC})
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		p := w.port("eth0", IPv4)
		for range 5 {
			p.hear(appendARPAnnouncement(nil, nodeMAC, vip4))
			p.hear(appendARPAnnouncement(nil, nodeMAC, vip4.Next()))
			p.hear(appendGratuitousReply(nil, ourMAC, vip4)) // somebody stands in for this node
		}
		if len(heard) != 1 || <-heard != (rival{vip4, nodeMAC}) {
			t.Errorf("told %d times more", len(heard))
		}
		if got := w.conflicts(vip4); len(got) > 0 {
			t.Errorf("conflicts are %+v", got)
		}
	})
}

func TestKnownMACsAreRememberedForADay(t *testing.T) {
	inWorld(t, func(w *world) {
		w.SetKnown([]MAC{nodeMAC, otherMAC})
		w.after(48 * time.Hour) // in which nothing happens
		w.SetKnown([]MAC{otherMAC})
		w.after(23 * time.Hour)
		w.SetKnown([]MAC{otherMAC})
		if !w.isNode(nodeMAC) {
			t.Error("forgotten within a day")
		}
		w.after(2 * time.Hour)
		w.SetKnown([]MAC{otherMAC})
		if w.isNode(nodeMAC) || !w.isNode(otherMAC) {
			t.Error("remembered for more than a day, or forgotten though published")
		}
	})
}

func TestPickedCanariesAreHosts(t *testing.T) {
	for _, c := range []struct {
		network string
		random  float64
		want    string
	}{
		{"192.0.2.0/24", 0, "192.0.2.1"},
		{"192.0.2.0/24", 0.999999, "192.0.2.254"},
		{"192.0.2.8/29", 0.5, "192.0.2.12"},
		{"192.0.2.8/30", 0.5, "invalid IP"},
		{"2001:db8::/64", 0, "2001:db8::1"},
		{"2001:db8::/127", 0, "invalid IP"},
	} {
		if got, _ := pick(netip.MustParsePrefix(c.network), func() float64 { return c.random }); got.String() != c.want {
			t.Errorf("of %s at %v: got %v, expected %s", c.network, c.random, got, c.want)
		}
	}
}
