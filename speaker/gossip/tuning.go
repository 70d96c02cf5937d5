package gossip

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// How fast a dead speaker is noticed, and how hard it is to be taken for dead by mistake. The arithmetic
// is in the package documentation. Detection proper is speaker/detection's, with heartbeats of its own; here it is cheap that
// counts, as long as nothing happens.
const (
	probeInterval     = 300 * time.Millisecond
	probeTimeout      = 150 * time.Millisecond
	suspicionMult     = 3
	suspicionMaxMult  = 2
	gossipInterval    = 100 * time.Millisecond
	gossipToTheDead   = 5 * time.Second
	tcpTimeout        = time.Second
	pushPullInterval  = 15 * time.Second
	deadNodeReclaim   = time.Second
	indirectChecks    = 3
	retransmitMult    = 4
	packetSize        = 1200
	protocolOfStates  = 1 // memberlist's "delegate protocol": the version of our frames
	leaveTimeout      = time.Second
	retryListen       = time.Second
	redialInterval    = 500 * time.Millisecond
	redialTCPInterval = 5 * time.Second
	// maxJoins is how many streams we open at a time to join others: the first success makes most of
	// the rest unnecessary.
	maxJoins = 3
	// callsInVain is after how many calls without an answer a peer counts as accounted for.
	callsInVain = 2
)

func config(d Desired, node string) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = node
	c.BindAddr = d.Listen.Addr().String()
	c.BindPort = int(d.Listen.Port())
	c.AdvertisePort = int(d.Listen.Port())
	if d.Advertise.IsValid() {
		c.AdvertiseAddr = d.Advertise.String()
	}

	c.ProbeInterval = probeInterval
	c.ProbeTimeout = probeTimeout
	c.SuspicionMult = suspicionMult
	c.SuspicionMaxTimeoutMult = suspicionMaxMult
	c.IndirectChecks = indirectChecks
	c.GossipInterval = gossipInterval
	c.GossipToTheDeadTime = gossipToTheDead
	c.RetransmitMult = retransmitMult
	c.TCPTimeout = tcpTimeout
	c.PushPullInterval = pushPullInterval
	c.DeadNodeReclaimTime = deadNodeReclaim
	c.UDPBufferSize = packetSize

	c.GossipVerifyIncoming = true
	c.GossipVerifyOutgoing = true
	c.EnableCompression = false

	c.DelegateProtocolMin = protocolOfStates
	c.DelegateProtocolMax = protocolOfStates
	c.DelegateProtocolVersion = protocolOfStates
	return c
}
