package layer2

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// on announces addresses on an interface, each by itself.
func on(name string, addresses ...netip.Addr) []Announcement {
	var as []Announcement
	for _, a := range addresses {
		as = append(as, Announcement{Address: a, Interfaces: []string{name}})
	}
	return as
}

// scattered returns n addresses of the family, scattered so that the kernel's
// filter can't be exact for more than a few hundred.
func scattered(f Family, n int) []netip.Addr {
	addresses := make([]netip.Addr, n)
	for i := range addresses {
		low := uint32(i) * 2654435761 >> 8 // 24 bits; no two alike for millions of i
		b := netip.MustParseAddr("2001:db8::").As16()
		b[13], b[14], b[15] = byte(low>>16), byte(low>>8), byte(low)
		if addresses[i] = netip.AddrFrom16(b); f == IPv4 {
			addresses[i] = netip.AddrFrom4([4]byte{10, b[13], b[14], b[15]})
		}
	}
	return addresses
}

func TestApplyStory(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	six := netip.MustParseAddr("2001:db8::1")
	announce := func(address netip.Addr, mac MAC, interfaces ...string) Announcement {
		return Announcement{Address: address, Interfaces: interfaces, HardwareAddr: mac}
	}
	announcer := New(Options{})
	for _, c := range []struct {
		name    string
		desired []Announcement
		want    Changes
	}{
		{"nothing from nothing", nil, Changes{}},
		{"two addresses are taken, in order",
			[]Announcement{announce(b, MAC{}, "eth0"), announce(a, MAC{}, "eth0")},
			Changes{Taken: []Target{{a, "eth0"}, {b, "eth0"}}}},
		{"the same in another order and in pieces changes nothing",
			[]Announcement{announce(a, MAC{}, "eth0", "eth0"), announce(b, MAC{}, "eth0"), announce(a, MAC{})}, Changes{}},
		{"a second interface is more of the same address",
			[]Announcement{announce(a, MAC{}, "eth0", "eth1"), announce(b, MAC{}, "eth0")},
			Changes{Taken: []Target{{a, "eth1"}}}},
		{"a stand-in answers with another MAC",
			[]Announcement{announce(a, otherMAC, "eth0", "eth1"), announce(b, MAC{}, "eth0")},
			Changes{Taken: []Target{{a, "eth0"}, {a, "eth1"}}}},
		{"but an owner comes before a stand-in",
			[]Announcement{announce(a, otherMAC, "eth0", "eth1"), announce(b, MAC{}, "eth0"), announce(a, MAC{}, "eth1")},
			Changes{Taken: []Target{{a, "eth1"}}}},
		{"families are apart",
			[]Announcement{announce(six, MAC{}, "eth0"), announce(b, MAC{}, "eth0")},
			Changes{Taken: []Target{{six, "eth0"}}, Withdrawn: []Target{{a, "eth0"}, {a, "eth1"}}}},
		{"an IPv4 address may come in IPv6 clothes",
			[]Announcement{announce(six, MAC{}, "eth0"), announce(netip.AddrFrom16(b.As16()), MAC{}, "eth0")}, Changes{}},
		{"what cannot be announced is refused and the rest goes on",
			[]Announcement{
				announce(six, MAC{}, "eth0"), announce(b, MAC{}, "eth0"), announce(allNodes, MAC{}, "eth0"), announce(netip.Addr{}, MAC{}, "eth0"),
				announce(ourLinkLocal, MAC{}, "eth0"), announce(netip.IPv4Unspecified(), MAC{}, "eth0"), announce(netip.MustParseAddr("255.255.255.255"), MAC{}, "eth0"),
				announce(netip.MustParseAddr("127.0.0.1"), MAC{}, "eth0"), announce(allNodes, MAC{}, "eth0"), announce(six.WithZone("eth0"), MAC{}, "eth0"),
			},
			Changes{Refused: []netip.Addr{{}, netip.IPv4Unspecified(), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("255.255.255.255"),
				six.WithZone("eth0"), ourLinkLocal, allNodes}}},
		{"without interfaces nothing is announced",
			[]Announcement{announce(six, MAC{}), announce(b, MAC{}, "eth0")},
			Changes{Withdrawn: []Target{{six, "eth0"}}}},
		{"everything is withdrawn", nil, Changes{Withdrawn: []Target{{b, "eth0"}}}},
	} {
		before := announcer.answers.Load()
		got := announcer.Apply(c.desired)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, expected %+v", c.name, got, c.want)
		}
		select {
		case <-announcer.changed:
			if c.want.Empty() {
				t.Errorf("%s: the owner was told of no change", c.name)
			}
		default:
			if !c.want.Empty() {
				t.Errorf("%s: the owner was not told", c.name)
			}
		}
		if same := announcer.answers.Load() == before; same != c.want.Empty() {
			t.Errorf("%s: answers stayed the same: %v", c.name, same)
		}
	}
}

// tableOf is a table that says this.
func tableOf(said map[netip.Addr]binding) *table {
	t, _, _ := noAnswers.revise(edit{said: said})
	return t
}

// someAnnouncements are of a few addresses, so that they meet.
func someAnnouncements() *rapid.Generator[[]Announcement] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Announcement {
		return Announcement{
			Address:      netip.AddrFrom4([4]byte{192, 0, 2, rapid.ByteRange(1, 6).Draw(t, "address")}),
			Interfaces:   rapid.SliceOfN(rapid.SampledFrom([]string{"eth0", "eth1"}), 0, 3).Draw(t, "interfaces"),
			HardwareAddr: rapid.SampledFrom([]MAC{{}, otherMAC, clientMAC}).Draw(t, "mac"),
			Claim:        rapid.Bool().Draw(t, "claim"),
			Standby:      rapid.Bool().Draw(t, "standby"),
			Conflicts:    rapid.SampledFrom([]ConflictMode{"", ConflictReport, ConflictOff}).Draw(t, "conflicts"),
		}
	}), 0, 10)
}

// To change what is announced of some addresses comes to what applying everything anew does: the same tables, gates and lists, the
// same news, and the same tables left alone.
func TestChangeIsApplyOfEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := someAnnouncements().Draw(t, "before"), someAnnouncements().Draw(t, "after")
		chosen := rapid.SliceOfN(rapid.ByteRange(1, 6), 0, 6).Draw(t, "chosen")
		isChosen := func(d Announcement) bool { return slices.Contains(chosen, d.Address.As4()[3]) }
		var addresses []netip.Addr
		for _, last := range chosen {
			a := netip.AddrFrom4([4]byte{192, 0, 2, last})
			if rapid.Bool().Draw(t, "in IPv6 clothes") {
				a = netip.AddrFrom16(a.As16())
			}
			addresses = append(addresses, a)
		}
		desired := slices.DeleteFunc(slices.Clone(after), func(d Announcement) bool { return !isChosen(d) })
		whole := slices.Concat(slices.DeleteFunc(slices.Clone(before), isChosen), desired)

		old, _, _ := answers(nil).next(before)
		kept := maps.Clone(old)
		got, changes, changed := old.change(addresses, desired)
		want, wantChanges, wantChanged := old.next(whole)
		if changed != wantChanged || !reflect.DeepEqual(changes, wantChanges) {
			t.Fatalf("it says %v and %+v, not %v and %+v", changed, changes, wantChanged, wantChanges)
		}
		if !maps.Equal(old, kept) {
			t.Fatal("the tables from before were changed")
		}
		if len(got) != len(want) {
			t.Fatalf("%d segments, not %d", len(got), len(want))
		}
		for s, expected := range want {
			tab, was := got.on(s), old.on(s)
			if (tab == was) != (expected == was) {
				t.Fatalf("the table of %v stays: %v", s, tab == was)
			}
			if !slices.Equal(tab.addresses, expected.addresses) || !slices.Equal(tab.announced, expected.announced) || tab.bindings.len() != expected.bindings.len() {
				t.Fatalf("on %v it lists %v and %v, not %v and %v", s, tab.addresses, tab.announced, expected.addresses, expected.announced)
			}
			for address, b := range expected.bindings.all() {
				one, has := tab.bindings.get(address)
				if !has || !one.same(b) || (one.gate == nil) != (b.gate == nil) {
					t.Fatalf("%v is %+v, not %+v", address, one, b)
				}
				if before, had := was.bindings.get(address); had && b.gate == before.gate && one.gate != before.gate {
					t.Fatalf("%v: what was found out is forgotten", address)
				}
			}
			news, gone := was.changed(tab)
			wantNews, wantGone := was.changed(expected)
			if !slices.Equal(news, wantNews) || !slices.Equal(gone, wantGone) {
				t.Fatalf("a responder hears of %v and %v, not %v and %v", news, gone, wantNews, wantGone)
			}
		}
	})
}

// However the desired announcements are cut and shuffled, the answers
// are the same; and from whatever was before, the changes lead to what is desired.
func TestApplyLaws(t *testing.T) {
	announcements := someAnnouncements()
	said := func(a answers) map[string]binding {
		m := make(map[string]binding)
		for s, t := range a {
			for address, b := range t.bindings.all() {
				b.gate = nil
				m[fmt.Sprint(address, s.iface)] = b
			}
		}
		return m
	}
	flat := func(a answers) map[string]MAC {
		m := make(map[string]MAC)
		for key, b := range said(a) {
			if !b.standby {
				m[key] = b.mac
			}
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		before, desired := announcements.Draw(t, "before"), announcements.Draw(t, "desired")
		old, _, _ := answers(nil).next(before)
		got, changes, changed := old.next(desired)
		if changed == reflect.DeepEqual(said(old), said(got)) {
			t.Fatalf("from %v to %v: it says changed is %t", said(old), said(got), changed)
		}

		fresh, _, _ := answers(nil).next(rapid.Permutation(desired).Draw(t, "shuffled"))
		if !reflect.DeepEqual(said(got), said(fresh)) {
			t.Fatalf("from %v: %v; from nothing and shuffled: %v", said(old), said(got), said(fresh))
		}
		if again, more, changed := got.next(desired); !more.Empty() || changed || !maps.Equal(again, got) {
			t.Fatalf("applying the same again changes %+v, or makes new tables", more)
		}
		replayed := flat(old)
		for _, w := range changes.Withdrawn {
			delete(replayed, fmt.Sprint(w.Address, w.Interface))
		}
		for _, x := range changes.Taken {
			key := fmt.Sprint(x.Address, x.Interface)
			if mac, had := replayed[key]; had && mac == flat(got)[key] {
				t.Fatalf("%v taken, but it was there before", x)
			}
			replayed[key] = flat(got)[key]
		}
		if !reflect.DeepEqual(replayed, flat(got)) {
			t.Fatalf("changes %+v lead to %v, not to %v", changes, replayed, flat(got))
		}
		for s, tab := range got {
			if !slices.IsSortedFunc(tab.addresses, netip.Addr.Compare) || len(tab.addresses) != tab.bindings.len() || len(tab.addresses) == 0 {
				t.Fatalf("bad table on %v: %+v", s, tab)
			}
			for address, b := range tab.bindings.all() {
				was, had := old.on(s).bindings.get(address)
				answers := had && !was.standby && was.gate == nil
				if must := b.claim && b.mode == ConflictEnforce && !answers; must != (b.gate != nil) {
					t.Fatalf("%v was %+v and is %+v", address, was, b)
				}
				if b.gate != nil && had && was.gate != nil && b.gate != was.gate {
					t.Fatalf("%v: what was found out is forgotten", address)
				}
			}
		}
	})
}

func TestAnswer(t *testing.T) {
	stoodFor := netip.MustParseAddr("192.0.2.101")
	awaited, unclear := netip.MustParseAddr("192.0.2.102"), netip.MustParseAddr("192.0.2.103")
	table := tableOf(map[netip.Addr]binding{vip4: {}, stoodFor: {mac: otherMAC}, awaited: {standby: true}, unclear: {claim: true, mode: ConflictEnforce}})
	we := new(responder)
	for _, c := range []struct {
		name   string
		q      question
		mac    MAC
		reason DropReason
	}{
		{"our address has the interface's own MAC", question{vip4, client4, clientMAC}, MAC{}, answered},
		{"another's address has the MAC of whom we stand in for", question{stoodFor, client4, clientMAC}, otherMAC, answered},
		{"a probe is answered, so that nobody takes the address", question{vip4, netip.IPv4Unspecified(), clientMAC}, MAC{}, answered},
		{"an address that is not ours", question{vip4.Prev(), client4, clientMAC}, MAC{}, DropNotAnnounced},
		{"an address that we stand by for", question{awaited, client4, clientMAC}, MAC{}, DropStandby},
		{"an address of which it is not known whether it is free", question{unclear, client4, clientMAC}, MAC{}, DropClaiming},
		{"somebody who says the address is theirs is not asking", question{vip4, vip4, clientMAC}, MAC{}, DropClaimed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if mac, reason := table.answer(c.q, we); mac != c.mac || reason != c.reason {
				t.Errorf("got %v, %q; expected %v, %q", mac, reason, c.mac, c.reason)
			}
		})
	}
}
