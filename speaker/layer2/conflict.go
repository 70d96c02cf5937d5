package layer2

import (
	"cmp"
	"net/netip"
	"time"
)

// A ConflictMode says what to do about other hosts that have an address announced here.
type ConflictMode string

// The modes.
const (
	// ConflictEnforce: an address that another host holds is not answered, and one that
	// another host claims later is defended, once in ten seconds (RFC 5227 §2.4 (c)).
	ConflictEnforce ConflictMode = "Enforce"
	// ConflictReport: conflicts are told in [State] and change nothing else.
	ConflictReport ConflictMode = "Report"
	// ConflictOff: nobody is asked and nothing is told.
	ConflictOff ConflictMode = "Off"
)

// A ConflictKind says who else answers for an address.
type ConflictKind string

// The kinds.
const (
	// ForeignHost: a MAC that is no node's. See [Announcer.SetKnown].
	ForeignHost ConflictKind = "ForeignHost"
	// KubeProxyAnswersARP: another node's MAC, time and again, though the address is
	// announced from here: that node's kernel has the address on an interface
	// (kube-ipvs0) and answers for it, as kube-proxy without strictARP lets it.
	KubeProxyAnswersARP ConflictKind = "KubeProxyAnswersARP"
)

// A Conflict is another host that has an address announced here.
type Conflict struct {
	Address netip.Addr
	Kind    ConflictKind
	// MAC is the other's.
	MAC MAC
	// Withheld is true while the address is not answered because of it.
	Withheld bool
	// Since is when it was first noticed.
	Since time.Time
}

func (c Conflict) compare(o Conflict) int {
	return cmp.Or(c.Address.Compare(o.Address), cmp.Compare(c.Kind, o.Kind), cmp.Compare(c.MAC.String(), o.MAC.String()))
}
