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

// try begins a trial for an address unless there is one that tells.
func (c *contests) try(now time.Time, address netip.Addr) {
	network := c.around(address)
	if t := c.trials[network]; t != nil {
		if now.Sub(t.began) < c.timing().trial {
			return
		}
		c.forgetTrial(t)
	}
	t := &trial{network: network, answers: make(map[MAC]int), began: now}
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

// nextTrial returns the trial that has the next frame to send, and when.
func (c *contests) nextTrial() (next *trial, at time.Time) {
	for _, t := range c.trials {
		if len(t.canaries) == 0 || t.sent >= canaryRounds*len(t.canaries) {
			continue
		}
		due := t.began.Add(time.Duration(t.sent/len(t.canaries)) * canaryPause)
		if next == nil || due.Before(at) {
			next, at = t, due
		}
	}
	return next, at
}

// heard notes an answer for a canary.
func (t *trial) heard(canary netip.Addr, mac MAC) {
	for i, a := range t.canaries {
		if a == canary {
			t.answers[mac] |= 1 << i
		}
	}
}

// proxy reports whether a MAC answered for all canaries. A trial with one canary tells nothing.
func (t *trial) proxy(m MAC) bool {
	return len(t.canaries) == canaryCount && bits.OnesCount(uint(t.answers[m])) == canaryCount
}

// trialOver is when nobody waits any more for what a trial tells.
const trialOver = 5 * time.Second

// tidy forgets trials that are over for long.
func (c *contests) tidy(now time.Time) {
	for _, t := range c.trials {
		if now.Sub(t.began) > trialOver {
			c.forgetTrial(t)
		}
	}
}

// asked returns the canaries of which answers are to be heard, in order.
func (c *contests) asked() []netip.Addr {
	return slices.SortedFunc(maps.Keys(c.canaries), netip.Addr.Compare)
}
