package layer2

import (
	"slices"
	"time"
)

// knownMemory is how long a MAC is a node's after it was published last.
const knownMemory = 24 * time.Hour

// SetKnown says which MACs nodes have published, in full. One that is no longer
// among them is remembered for another 24 hours. Who answers with a known MAC is a node:
// which of them answers for what is a matter of ownership, not of
// conflict, and a dead node's MAC blocks nothing.
func (a *Announcer) SetKnown(macs []MAC) {
	a.knownLock.Lock()
	defer a.knownLock.Unlock()
	now := time.Now()
	for _, m := range slices.Concat(a.publishing, macs) { // those that are left out now were published until now
		a.published[m] = now
	}
	a.publishing = slices.Clone(macs)
	known := make(map[MAC]bool, len(a.published))
	for m, when := range a.published {
		if now.Sub(when) > knownMemory {
			delete(a.published, m)
			continue
		}
		known[m] = true
	}
	a.known.Store(&known)
}

// isNode reports whether mac is another node's.
func (a *Announcer) isNode(mac MAC) bool { return (*a.known.Load())[mac] }

// isOwn reports whether mac is that of one of this node's interfaces.
func (a *Announcer) isOwn(mac MAC) bool {
	links, _ := a.links.load()
	return slices.ContainsFunc(links, func(l Link) bool { return l.HardwareAddr == mac })
}
