package ipam

import (
	"net/netip"
	"testing"
	"time"
)

// What kubectl can tell of a Service is what the controller would say to it.
func TestASnapshotExplains(t *testing.T) {
	lab := Request{Service: key("team-b/holds"), Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}}}
	status("192.0.2.0", "lab")(&lab)
	asks := Request{Service: key("team-b/asks"), Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}}}
	s := Snapshot{
		Pools: []Pool{
			auto("public", "198.51.100.0/24", forNamespace("team-a")), auto("lab", "192.0.2.0/30", reuseDelay(60)), auto("v6-only", "2001:db8::/64"),
		},
		Reserved: Node{Name: "n1", Addresses: addrs("192.0.2.1")}.Reserved(),
		Services: []Request{asks, lab},
		Others:   map[Key][]netip.Addr{key("other/theirs"): addrs("192.0.2.2")},
		Resting:  []Rest{{addrs("192.0.2.3")[0], key("team-c/gone"), newYear.Add(30 * time.Second)}},
		Now:      newYear,
	}
	const refusal = "no IPv4 address: public: is not for namespace team-b; lab: full (v4 3/3 in use or resting); v6-only: family IPv6 ≠ IPv4"
	d := s.Explain(asks)
	if d.Message != refusal || d.Reason != "PoolExhausted" || len(d.Story) != 3 {
		t.Errorf("got %s %q of %v", d.Reason, d.Message, d.Story)
	}
	if told := s.Allocator().Assign(asks); told.Message != refusal {
		t.Errorf("the controller says %q", told.Message)
	}
	if d := s.Explain(lab); d.Message != "192.0.2.0 from pool lab" {
		t.Errorf("who has an address is told %q", d.Message)
	}
	s.Now = newYear.Add(30 * time.Second)
	if d := s.Explain(asks); d.Message != "192.0.2.3 from pool lab" {
		t.Errorf("later it is told %q", d.Message)
	}
}
