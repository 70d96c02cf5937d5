package ownership

import "net/netip"

// A Segment names a set of nodes that hear each other on the links concerned.
type Segment string

// WholeLAN is the segment of addresses for which all nodes that may answer are taken to hear each other.
const WholeLAN Segment = ""

// A Unit is what has one owner.
type Unit struct {
	// Address as it stands in the Service's status.
	Address netip.Addr
	// Segment that the address is answered on.
	Segment Segment
	// Share of those who ask for the address, numbered from 0. There is one share, of everybody.
	Share uint8
}

// Compare orders units by address, segment and share.
func (u Unit) Compare(v Unit) int {
	if c := u.Address.Compare(v.Address); c != 0 {
		return c
	}
	switch {
	case u.Segment < v.Segment:
		return -1
	case u.Segment > v.Segment:
		return 1
	}
	return int(u.Share) - int(v.Share)
}

func (u Unit) String() string {
	s := u.Address.String()
	if u.Segment != WholeLAN {
		s += " on " + string(u.Segment)
	}
	return s
}
