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
	// claim asks for an address before it is announced, and look asks whether somebody else answers for one that
	// is, or for a free one. An answer to a look comes to the source, or to all where there is none.
	claim func(b []byte, own MAC, address netip.Addr) []byte
	look  func(b []byte, own, to MAC, source, address netip.Addr) []byte
	// direct asks a host for its own address, as who has address: the host has to note that. The frame goes to the MAC to, or
	// to all if that is zero.
	direct func(b []byte, own, to MAC, address, host netip.Addr) []byte
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
		claim:  func(b []byte, own MAC, address netip.Addr) []byte { return appendARPProbe(b, own, MAC{}, address) },
		look:   func(b []byte, own, to MAC, _, address netip.Addr) []byte { return appendARPProbe(b, own, to, address) },
		direct: appendARPRequest,
	},
	IPv6: {
		parse:     parseSolicitation,
		statement: parseAdvertisement,
		reply:     appendNeighborAdvertisement,
		announce:  []func([]byte, MAC, netip.Addr, netip.Addr) []byte{appendUnsolicitedAdvertisement},
		claim:     appendDuplicateProbe,
		look: func(b []byte, own, to MAC, source, address netip.Addr) []byte {
			if !source.IsValid() {
				return appendDuplicateProbe(b, own, address)
			}
			return appendSolicitation(b, own, to, source, address)
		},
		direct: appendSolicitation,
		group:  solicitedNode,
	},
}
