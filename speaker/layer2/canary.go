package layer2

import (
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

const (
	// canaryCount is how many free addresses a trial asks for, each canaryRounds times. A host may happen to
	// have one of them; that it has both is unlikely.
	canaryCount, canaryRounds = 2, 2
	canaryPause               = 50 * time.Millisecond
	// canaryTries is how often chance may pick an address that is in use.
	canaryTries = 16
	// maxSuspects is how many MACs are on trial at once.
	maxSuspects = 16
)

// around returns the network from which the canaries for an address are picked: close to it,
// since routers are proxies for some networks and not for others.
func (c *contests) around(address netip.Addr) netip.Prefix {
	near := 24
	if c.family == IPv6 {
		near = 64
	}
	for _, n := range c.networks() {
		if n.Contains(address) {
			near = max(near, n.Bits())
		}
	}
	p, _ := address.Prefix(near)
	return p
}

// A trial is about canaries: free addresses of a network. Who answers for them all answers for anything. They are
// asked for by unicast to those who are suspected, for Linux lets a broadcast wait for up
// to 0.8 s before it answers as a proxy, and both by probes and by ordinary requests, for as a proxy Linux answers no
// probes, and others may heed nothing but.
type trial struct {
	network  netip.Prefix
	canaries []netip.Addr
	began    time.Time         // the last suspect's
	suspects map[MAC]time.Time // since when they are
	asks     []canaryAsk       // to be sent, in order of time
	answers  map[MAC]int       // a bit for each canary
}

// A canaryAsk is a frame to a suspect.
type canaryAsk struct {
	kind   deedKind
	canary netip.Addr
	to     MAC
	due    time.Time
}

// try puts a MAC that answered for an address on trial, unless it is.
func (c *contests) try(now time.Time, address netip.Addr, mac MAC) *trial {
	network := c.around(address)
	t := c.trials[network]
	if t == nil {
		t = &trial{network: network, suspects: make(map[MAC]time.Time), answers: make(map[MAC]int)}
		for range canaryTries {
			a, ok := pick(network, c.random)
			if !ok || len(t.canaries) == canaryCount {
				break
			}
			if c.canaries[a] == nil && c.subjects[a] == nil && !c.inUse(a) {
				t.canaries = append(t.canaries, a)
				c.canaries[a] = t
			}
		}
		c.trials[network] = t
		c.version++
	}
	if _, suspected := t.suspects[mac]; suspected || len(t.suspects) == maxSuspects {
		return t
	}
	t.suspects[mac], t.began = now, now
	for round := range canaryRounds {
		for _, a := range t.canaries {
			due := now.Add(time.Duration(round) * canaryPause)
			t.asks = append(t.asks, canaryAsk{deedProbeOne, a, mac, due}, canaryAsk{deedAskOne, a, mac, due})
		}
	}
	slices.SortStableFunc(t.asks, func(a, b canaryAsk) int { return a.due.Compare(b.due) })
	return t
}

// verdict reports whether a MAC that answered for an address does so for any, or when that will be known.
func (c *contests) verdict(now time.Time, address netip.Addr, mac MAC) (proxy bool, until time.Time) {
	t := c.try(now, address, mac)
	if len(t.canaries) < canaryCount {
		return false, time.Time{} // the network is too small to tell
	}
	if bits.OnesCount(uint(t.answers[mac])) == canaryCount {
		return true, time.Time{}
	}
	if end := t.suspects[mac].Add(c.timing().trial); now.Before(end) {
		return false, end
	}
	return false, time.Time{}
}

func (c *contests) forgetTrial(t *trial) {
	delete(c.trials, t.network)
	c.version++
	for _, a := range t.canaries {
		delete(c.canaries, a)
	}
}

// pick returns a random host address of a network; there is none in the smallest.
func pick(network netip.Prefix, random func() float64) (netip.Addr, bool) {
	host := network.Addr().BitLen() - network.Bits()
	if host < 3 {
		return netip.Addr{}, false
	}
	b := network.Masked().Addr().AsSlice()
	size := uint64(1) << min(host, 52)
	n := 1 + uint64(random()*float64(size-2)) // neither the network's nor the broadcast address
	n = min(n, size-2)
	for i := len(b) - 1; n > 0; i-- {
		b[i] |= byte(n)
		n >>= 8
	}
	return netip.AddrFromSlice(b)
}

// nextAsk returns the trial that has the next frame to send, and when.
func (c *contests) nextAsk() (next *trial, at time.Time) {
	for _, t := range c.trials {
		if len(t.asks) > 0 && (next == nil || t.asks[0].due.Before(at)) {
			next, at = t, t.asks[0].due
		}
	}
	return next, at
}

// heard notes an answer for a canary.
func (t *trial) heard(canary netip.Addr, mac MAC) {
	if _, suspected := t.suspects[mac]; !suspected {
		return
	}
	if i := slices.Index(t.canaries, canary); i >= 0 {
		t.answers[mac] |= 1 << i
	}
}

// trialOver is when nobody waits any more for what a trial tells.
const trialOver = 5 * time.Second

// tidy forgets trials that are over for long.
func (c *contests) tidy(now time.Time) {
	for _, t := range c.trials {
		if now.Sub(t.began) > trialOver && len(t.asks) == 0 {
			c.forgetTrial(t)
		}
	}
}

// asked returns the canaries of which answers are to be heard, in order.
func (c *contests) asked() []netip.Addr {
	return slices.SortedFunc(maps.Keys(c.canaries), netip.Addr.Compare)
}
