package bgp

import "net/netip"

// What crosses the border between the Manager and its child, each as one JSON value after another on a
// socket pair that nobody else has. Both are the same program, so there is one version of it.

// ChildName is what the child process is called; a main that finds it as os.Args[0] must run child.Main.
const ChildName = "clarion-bgp"

// ChildFD is the child's end of the socket pair.
const ChildFD = 3

// Order is what the child is to do, in the order of the fields.
type Order struct {
	// Gone are peers that are no more.
	Gone []string `json:",omitempty"`
	// Peers are new or changed, with all defaults filled in.
	Peers []Peer `json:",omitempty"`
	// Routes of peers that change.
	Routes []RouteChange `json:",omitempty"`
	// Holds of peers that change.
	Holds []Hold `json:",omitempty"`
	// Stop ends all sessions; nothing comes after it.
	Stop *Stop `json:",omitempty"`
	// Ping asks for a Report with the same number.
	Ping uint64 `json:",omitempty"`
}

func (o *Order) empty() bool {
	return len(o.Gone)+len(o.Peers)+len(o.Routes)+len(o.Holds) == 0 && o.Stop == nil && o.Ping == 0
}

// RouteChange is the same change to the routes of several peers.
type RouteChange struct {
	Peers  []string
	Upsert []Route        `json:",omitempty"`
	Remove []netip.Prefix `json:",omitempty"`
}

// Hold keeps a session down for as long as Why is not empty.
type Hold struct{ Peer, Why string }

// Stop is how sessions end.
type Stop struct {
	// Restart has routers keep the routes where graceful restart was negotiated. The others are left.
	Restart bool
	// Text goes to the routers' operators (RFC 9003).
	Text string
}

// Report is what the child tells.
type Report struct {
	// Sessions that changed.
	Sessions []Session `json:",omitempty"`
	// Stopped follows a Stop that is carried out.
	Stopped bool   `json:",omitempty"`
	Pong    uint64 `json:",omitempty"`
}
