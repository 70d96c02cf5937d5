package ipam

import (
	"math"
	"net/netip"
	"time"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// Policy is a Service's ipFamilyPolicy.
type Policy string

// The policies, as Kubernetes spells them.
const (
	SingleStack      Policy = "SingleStack"
	PreferDualStack  Policy = "PreferDualStack"
	RequireDualStack Policy = "RequireDualStack"
)

// Request is what is to be known of a Service to decide what it gets.
type Request struct {
	Service         Key
	Labels          map[string]string
	NamespaceLabels map[string]string
	Ports           []Port
	// Created decides between Services that can't both have an address: the older one keeps it.
	Created time.Time

	// SharingKey lets the Service have an address together with others that give the same key; "" is not at all.
	SharingKey string
	// Local says that externalTrafficPolicy is Local: the Service's traffic goes to the Pods on the node alone that
	// answers, so it shares only with Services that have the same Pods, those that Selector selects.
	Local    bool
	Selector map[string]string

	// Families are those of the Service's cluster IPs, in their order.
	Families []Family
	Policy   Policy

	// Addresses and Pool are what the Service asks for, if anything.
	Addresses []netip.Addr
	Pool      string

	// Unreadable says why what the Service asks for can't be read, if so: it keeps what it has and gets nothing else.
	Unreadable *Unreadable

	// Status is what the Service's status says that it holds.
	Status Status
}

// createdAt is when the Service was created, in seconds since 1970 as far as 32 bits tell.
func (r Request) createdAt() uint32 { return uint32(min(max(r.Created.Unix(), 0), math.MaxUint32)) }

// Unreadable is why a request can't be read.
type Unreadable struct {
	Reason  clarion.Reason
	Message string
}

// Status is what a Service's status says that it holds.
type Status struct {
	Addresses []netip.Addr
	// Pools names the pool of each address, as we wrote it beside them, "" for one that our mark does not name; nil where
	// none bears it. There are as many as there are addresses.
	Pools []string
	// Unreadable says that the status has entries that are not addresses, such as host names.
	Unreadable bool
}

func (s Status) empty() bool { return len(s.Addresses) == 0 && !s.Unreadable }

// Outcome says how a decision went.
type Outcome uint8

const (
	// Refused: the Service does not get what it asks for. It keeps what it has.
	Refused Outcome = iota
	// Granted: the Service gets, or has, what it asks for.
	Granted
	// AskSomebody: an authority outside must be asked before the Service can be told. No pool has one yet; it is
	// here so that callers are written for three answers.
	AskSomebody
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Granted:
		return "Granted"
	case AskSomebody:
		return "AskSomebody"
	default:
		return "Refused"
	}
}

// Grant is an address and the pool that it counts in.
type Grant struct {
	Address netip.Addr
	Pool    string
}

// Decision is the answer to a Request.
type Decision struct {
	Outcome Outcome
	// Grants are what the Service's status is to hold: what it got, or what it keeps although it was refused.
	Grants []Grant
	Reason clarion.Reason
	// Message is the whole story in one sentence. It names no other tenant's Services.
	Message string
	// Lost tells of addresses that the Service had and that go to another one, "" for none. It is true of the change
	// alone: it is for the event, and not for the condition, which tells how things are.
	Lost string
	// Story tells of every pool that was considered and not used.
	Story []Verdict
	// Shares are addresses among the grants that other Services have too, though the rules do not let them share: all had
	// them before Clarion came, or before an edit of the pool, and no ports clash.
	Shares []netip.Addr
	// WaitsFor are the causes that, when they change, may change the answer. Empty when the Service has all that
	// it is due.
	WaitsFor []Cause
	// Foreign says that the Service's status is somebody else's and must not be touched.
	Foreign bool
}

// Told is the Message with what is Lost by the change.
func (d Decision) Told() string { return joinClauses(d.Message, d.Lost) }

// Verdict says why a pool did not serve.
type Verdict struct {
	Pool   string         `json:"pool"`
	Reason clarion.Reason `json:"reason,omitempty"`
	Text   string         `json:"text,omitempty"` // completes "public: …"
}

// CauseKind is a kind of thing that a Service may wait for.
type CauseKind uint8

const (
	// CausePools: there is a pool more; with Address: it is in another pool's territory, or, while it is in none, a pool
	// that lists it is edited.
	CausePools CauseKind = iota
	// CauseRules: whom Pool serves, and whether, is edited, or whether there is such a pool.
	CauseRules
	// CauseRange: what Pool gives out is edited.
	CauseRange
	// CauseNamespace: the labels of Namespace change.
	CauseNamespace
	// CauseSpace: an address of Family gets free in Pool, or the pool's territory changes.
	CauseSpace
	// CauseQuota: an address of Pool is given back by a Service of Namespace, or the quota is edited.
	CauseQuota
	// CauseSharing: at an address of Family in Pool, or at Address if that is given, that only Services have with which
	// the waiting one may share it, Port gets free, or all of Ports are at one, or there is a new such address; or what
	// the pool lets share is edited.
	CauseSharing
	// CauseAddress: Address gets free; for who has it itself, beside others: what these have of it changes.
	CauseAddress
)

// Cause is a thing that a Service may wait for.
type Cause struct {
	Kind      CauseKind
	Pool      string
	Namespace string
	Family    Family
	Address   netip.Addr
	// Sharing, Port and Ports are for CauseSharing: whom the Service may share with, as the allocator writes it, and a
	// port of its; or all its ports, as portsText writes them, where each is free somewhere and never all at one address.
	Sharing string
	Port    Port
	Ports   string
	// Holding says that who waits has something of it itself: an address of the pool, which it would give up for
	// another within the quota; or the Address.
	Holding bool
}
