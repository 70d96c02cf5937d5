package speaker

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// announcements returns what this node answers for.
func (d *decider) announcements() []layer2.Announcement {
	out := make([]layer2.Announcement, 0, len(d.answers)+len(d.standby))
	for u, answer := range d.answers {
		a := d.addresses[u.Address]
		if a == nil {
			continue
		}
		switch answer.As {
		case ownership.Own:
			out = append(out, layer2.Announcement{Address: u.Address, Interfaces: a.interfaces, Claim: answer.Claim,
				Conflicts: layer2.ConflictMode(a.settings.Conflicts)})
		case ownership.StandIn:
			for _, name := range a.interfaces {
				if mac := d.macOf(answer.For, name, a); !mac.IsZero() {
					out = append(out, layer2.Announcement{Address: u.Address, Interfaces: []string{name}, HardwareAddr: mac, Conflicts: layer2.ConflictOff})
				}
			}
		}
	}
	for u := range d.standby {
		_, answered := d.answers[u]
		if a := d.addresses[u.Address]; a != nil && !answered {
			out = append(out, layer2.Announcement{Address: u.Address, Interfaces: a.interfaces, Standby: true})
		}
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
