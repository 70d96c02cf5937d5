package layer2

import "net/netip"

// A protocol is what ARP and NDP differ in: how a question reads, how an answer
// and an announcement are written.
type protocol struct {
	parse func(frame []byte, own MAC) (question, DropReason)
	// statement reads who says to have which address.
	statement func(frame []byte) (statement, bool)
	reply     func(b []byte, own, mac MAC, q question) []byte
	// announce are the forms of a gratuitous frame, in the order in which they
	// are sent. source is the interface's link-local address, if it has one.
	announce []func(b []byte, own MAC, source, address netip.Addr) []byte
	// group is the multicast group to which requests for an address are sent;
	// nil where they are broadcast.
	group func(address netip.Addr) netip.Addr
}

var protocols = [families]protocol{
	IPv4: {
		parse:     parseARPRequest,
		statement: parseARPStatement,
		reply:     appendARPReply,
		announce: []func([]byte, MAC, netip.Addr, netip.Addr) []byte{
			func(b []byte, own MAC, _, address netip.Addr) []byte { return appendARPAnnouncement(b, own, address) },
			func(b []byte, own MAC, _, address netip.Addr) []byte { return appendGratuitousReply(b, own, address) },
		},
	},
	IPv6: {
		parse:     parseSolicitation,
		statement: parseAdvertisement,
		reply:     appendNeighborAdvertisement,
		announce:  []func([]byte, MAC, netip.Addr, netip.Addr) []byte{appendUnsolicitedAdvertisement},
		group:     solicitedNode,
	},
}
