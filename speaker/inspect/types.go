package inspect

import (
	"net/netip"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A Report is what a speaker shows.
type Report struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// Now is the node's time.
	Now     time.Time `json:"now"`
	Observe bool      `json:"observe,omitempty"`
	// WaitsFor is what keeps it from serving.
	WaitsFor  []string  `json:"waitsFor,omitempty"`
	Members   []Member  `json:"members,omitempty"`
	Host      Host      `json:"host"`
	Addresses []Address `json:"addresses,omitempty"`
}

// A Member is what the speaker knows of a node.
type Member struct {
	Node string `json:"node"`
	// Heard is whether its speaker is heard, and Verdict what detection says of the node.
	Heard   bool   `json:"heard"`
	Verdict string `json:"verdict,omitempty"`
	// Serving, Restarting, Leaving, Stale and Routed are what that speaker says of itself; Routed is that it has a BGP session.
	Serving    bool   `json:"serving,omitempty"`
	Restarting bool   `json:"restarting,omitempty"`
	Leaving    bool   `json:"leaving,omitempty"`
	Stale      bool   `json:"stale,omitempty"`
	Routed     bool   `json:"routed,omitempty"`
	Build      string `json:"build,omitempty"`
}

// An Address is what the speaker knows of an address.
type Address struct {
	Address  netip.Addr `json:"address"`
	Services []string   `json:"services"`
	// Owner is the node that answers for it at layer 2, if one does, and Ownership what there is to say of that.
	Owner     string   `json:"owner,omitempty"`
	Ownership string   `json:"ownership,omitempty"`
	Deputies  []string `json:"deputies,omitempty"`
	// Answering are the interfaces on which this speaker answers, and Wire what is wrong there.
	Answering []string `json:"answering,omitempty"`
	Wire      []string `json:"wire,omitempty"`
	// AdvertisedBy are the nodes that advertise it by BGP.
	AdvertisedBy []string `json:"advertisedBy,omitempty"`
	// Ignored is what speaks against every candidate, and so is ignored.
	Ignored v1beta1.Reason `json:"ignored,omitempty"`
	Nodes   []Node         `json:"nodes,omitempty"`
}

// A Node is what may be said of a node and an address.
type Node struct {
	Node string `json:"node"`
	// Layer2 is Eligible, or why the node may not answer.
	Layer2     v1beta1.Reason `json:"layer2"`
	Message    string         `json:"message,omitempty"`
	Interfaces []string       `json:"interfaces,omitempty"`
	// BGP is Announced, or why the node does not advertise the address.
	BGP v1beta1.Reason `json:"bgp,omitempty"`
	// Endpoints is whether endpoints on the node can serve.
	Endpoints bool `json:"endpoints,omitempty"`
}

// A Host is what of a node's kernel concerns announcing.
type Host struct {
	Links []Link `json:"links,omitempty"`
	// OptmemMax is net.core.optmem_max; 0 where it could not be read.
	OptmemMax int `json:"optmemMax,omitempty"`
	// IPVS is whether there is kube-proxy's interface for IPVS, which has every Service's addresses.
	IPVS bool `json:"ipvs,omitempty"`
	// DefaultVia are the interfaces of the default routes.
	DefaultVia []string `json:"defaultVia,omitempty"`
	// ProxyFailing is whether kube-proxy, which once was healthy, says that it is not.
	ProxyFailing bool `json:"proxyFailing,omitempty"`
	// ProxyUnseen is where kube-proxy's health check was looked for and was never good since the speaker began; empty where it was, or
	// is not to be looked for.
	ProxyUnseen string `json:"proxyUnseen,omitempty"`
	// PasswordedPeers is how many BGP sessions of the node are to have a password.
	PasswordedPeers int `json:"passwordedPeers,omitempty"`
}

// A Link is an interface that the node may answer on. The settings are those in force: the kernel takes the larger one of
// the interface's own and of "all".
type Link struct {
	Name      string         `json:"name"`
	Up        bool           `json:"up"`
	Prefixes  []netip.Prefix `json:"prefixes,omitempty"`
	ARPIgnore int            `json:"arpIgnore"`
	RPFilter  int            `json:"rpFilter"`
	ProxyARP  bool           `json:"proxyARP,omitempty"`
	ProxyNDP  bool           `json:"proxyNDP,omitempty"`
}

// A Simulation is what would become of the addresses if a node were drained or lost.
type Simulation struct {
	Node  string `json:"node"`
	Event Event  `json:"event"`
	// By is the speaker that worked it out.
	By string `json:"by"`
	// Owned and Advertised are how many addresses the node answers for and advertises now.
	Owned      int    `json:"owned"`
	Advertised int    `json:"advertised"`
	Moves      []Move `json:"moves,omitempty"`
}

// An Event is what is simulated.
type Event string

// The events.
const (
	Drain Event = "drain"
	Loss  Event = "loss"
)

// A Move is what would become of an address.
type Move struct {
	Address  netip.Addr `json:"address"`
	Services []string   `json:"services"`
	// To is the node that would answer for it; empty where none could, or nobody answers at layer 2 anyway.
	To string `json:"to,omitempty"`
	// Advertised are the nodes that would go on advertising it by BGP.
	Advertised []string `json:"advertised,omitempty"`
	// Stays is that the node would keep it, as no other is better placed.
	Stays bool `json:"stays,omitempty"`
	// Unserved are the Services that would be announced nowhere, and why.
	Unserved map[string]string `json:"unserved,omitempty"`
}
