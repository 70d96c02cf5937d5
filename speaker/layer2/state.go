package layer2

import (
	"net/netip"
	"slices"
)

// A Status says whether the announcements of one family on one interface are in
// force, and if not, what they wait for.
type Status string

// The statuses. Only Answering means that requests get answers.
const (
	// Opening: the interface is there, its sockets are being opened.
	Opening Status = "Opening"
	// Answering: requests are heard and answered.
	Answering Status = "Answering"
	// NoInterface: there is no such link here. Waits for it to appear.
	NoInterface Status = "NoInterface"
	// LinkDown: the link is down or has no carrier. Waits for it.
	LinkDown Status = "LinkDown"
	// Failed: the kernel refused something that Error tells. Tried again, at
	// growing intervals and when the link changes.
	Failed Status = "Failed"
)

// A Segment is one family on one interface that has something to announce.
type Segment struct {
	Interface string
	Family    Family
	Status    Status
	// Error says what went wrong when Status is Failed.
	Error string
	// Addresses are those to be announced here, in order, and Answered those of
	// them for which requests are heard and answered.
	Addresses, Answered []netip.Addr
	// Failures are those of them that the kernel refused to listen for while
	// others are answered, in order. They are tried again as a segment is that
	// Failed.
	Failures []Failure
	// Claiming are those of which it is being found out whether another host has them, in order.
	Claiming []netip.Addr
	// Conflicts are those that another host has, in order.
	Conflicts []Conflict
	// Proxies are the MACs that answer for any address, in order: routers with proxy ARP,
	// whose answers mean nothing.
	Proxies []MAC
}

// A Failure is why a single address is not answered.
type Failure struct {
	Address netip.Addr
	Error   string
}

func (s Segment) equal(o Segment) bool {
	return s.Interface == o.Interface && s.Family == o.Family && s.Status == o.Status && s.Error == o.Error &&
		slices.Equal(s.Addresses, o.Addresses) && slices.Equal(s.Answered, o.Answered) &&
		slices.Equal(s.Failures, o.Failures) && slices.Equal(s.Claiming, o.Claiming) &&
		slices.Equal(s.Conflicts, o.Conflicts) && slices.Equal(s.Proxies, o.Proxies)
}

// State is what came of the desired announcements: an immutable snapshot, in
// order of interface and family.
type State struct {
	Segments []Segment
	// Held is true while nothing is answered: see [Announcer.Hold].
	Held bool
}

// Conflicts returns the conflicts about address, on whatever interface, in order of interface.
func (s State) Conflicts(address netip.Addr) []Conflict {
	var all []Conflict
	for _, seg := range s.Segments {
		for _, c := range seg.Conflicts {
			if c.Address == address.Unmap() {
				all = append(all, c)
			}
		}
	}
	return all
}

// Answering returns the interfaces on which requests for address are answered
// now, in order.
func (s State) Answering(address netip.Addr) []string {
	var names []string
	for _, seg := range s.Segments {
		if seg.Family != FamilyOf(address) {
			continue
		}
		if _, found := slices.BinarySearchFunc(seg.Answered, address.Unmap(), netip.Addr.Compare); found {
			names = append(names, seg.Interface)
		}
	}
	return names
}
