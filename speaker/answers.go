package speaker

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// A revision says of which addresses layer 2 may have to be told something else than before. Most concern one address among thousands,
// and cost what one costs.
type revision struct {
	all       bool // of any: links, or what other nodes say of theirs, are others
	addresses map[netip.Addr]bool
}

func newRevision() revision { return revision{addresses: map[netip.Addr]bool{}} }

// answer takes in how this node is to answer.
func (d *decider) answer(c ownership.AnswerChange) {
	if d.answers[c.Unit].As == ownership.StandIn {
		d.standIns--
	}
	if c.Answer == (ownership.Answer{}) {
		delete(d.answers, c.Unit)
	} else {
		d.answers[c.Unit] = c.Answer
	}
	if c.Answer.As == ownership.StandIn {
		d.standIns++
	}
	d.revised.addresses[c.Unit.Address] = true
}

// standBy notes what this node is to take when its owner is lost, if that may be something else than before.
func (d *decider) standBy() {
	count := d.machine.Deputized()
	if count == d.deputized {
		return
	}
	standby := map[ownership.Unit]bool{}
	for u := range d.machine.Standby() {
		if standby[u] = true; !d.standby[u] {
			d.revised.addresses[u.Address] = true
		}
	}
	for u := range d.standby {
		if !standby[u] {
			d.revised.addresses[u.Address] = true
		}
	}
	d.standby, d.deputized = standby, count
}

// announcements returns what this node answers for.
func (d *decider) announcements() []layer2.Announcement {
	out := make([]layer2.Announcement, 0, len(d.answers)+len(d.standby))
	for u := range d.answers {
		out = d.announce(out, u)
	}
	for u := range d.standby {
		if _, answered := d.answers[u]; !answered {
			out = d.announce(out, u)
		}
	}
	return out
}

// announcementsOf returns what this node answers for of these addresses.
func (d *decider) announcementsOf(addresses []netip.Addr) (out []layer2.Announcement) {
	for _, a := range addresses {
		out = d.announce(out, unitOf(a))
	}
	return out
}

// announce adds how this node answers for u, if it does.
func (d *decider) announce(out []layer2.Announcement, u ownership.Unit) []layer2.Announcement {
	a := d.addresses[u.Address]
	if a == nil {
		return out
	}
	switch answer := d.answers[u]; {
	case answer.As == ownership.Own:
		return append(out, layer2.Announcement{Address: u.Address, Interfaces: a.interfaces, Claim: answer.Claim,
			Conflicts: layer2.ConflictMode(a.settings.Conflicts)})
	case answer.As == ownership.StandIn:
		for _, name := range a.interfaces {
			if mac := d.macOf(answer.For, name, a); !mac.IsZero() {
				out = append(out, layer2.Announcement{Address: u.Address, Interfaces: []string{name}, HardwareAddr: mac, Conflicts: layer2.ConflictOff})
			}
		}
		return out
	case d.standby[u]:
		return append(out, layer2.Announcement{Address: u.Address, Interfaces: a.interfaces, Standby: true})
	}
	return out
}

// macOf returns the MAC with which node answers on the network that this node's link of that name is on; zero if that is not known.
func (d *decider) macOf(node, name string, a *address) layer2.MAC {
	i := indexOf(a.candidates, node)
	if i < 0 {
		return layer2.MAC{}
	}
	var own layer2.Link
	for _, l := range d.links {
		if l.Name == name {
			own = l
		}
	}
	// The same network tells best which link of the other is meant, then the same name.
	var mac layer2.MAC
	best := 0
	for _, l := range d.known[node].links {
		if !slices.Contains(a.candidates[i].Interfaces, l.Name) {
			continue
		}
		fit := 1
		if l.Name == name {
			fit = 2
		}
		if slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return slices.Contains(own.Prefixes, p) }) {
			fit += 2
		}
		if fit > best {
			mac, best = layer2.MAC(l.MAC), fit
		}
	}
	return mac
}

// knownMACs returns the MACs that nodes have published.
func (d *decider) knownMACs() []layer2.MAC {
	var macs []layer2.MAC
	for _, k := range d.known {
		for _, l := range k.links {
			macs = append(macs, layer2.MAC(l.MAC))
		}
	}
	slices.SortFunc(macs, func(a, b layer2.MAC) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(macs)
}
