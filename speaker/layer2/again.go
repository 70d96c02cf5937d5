package layer2

import (
	"net/netip"
	"slices"
	"sync"
)

// again is what is to be announced once more, in the order in which that was asked for. Each responder reads it at its
// own pace.
type again struct {
	mu sync.Mutex
	// forgotten counts what was asked for before the first that is kept. Who has not read that far announces everything.
	forgotten uint64
	kept      []netip.Addr
}

// maxAgain is how many addresses are kept.
const maxAgain = 4096

// add asks for addresses, none for all.
func (g *again) add(addresses []netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(addresses) == 0 || len(addresses) > maxAgain {
		g.forgotten += uint64(len(g.kept)) + 1
		g.kept = nil
		return
	}
	for _, a := range addresses {
		g.kept = append(g.kept, a.Unmap())
	}
	if over := len(g.kept) - maxAgain; over > 0 {
		g.forgotten += uint64(over)
		g.kept = slices.Delete(g.kept, 0, over)
	}
}

// since returns what was asked for after the first read of all that ever was, and how much that is now. all is
// whether everything is to be announced.
func (g *again) since(read uint64) (addresses []netip.Addr, all bool, now uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now = g.forgotten + uint64(len(g.kept))
	if read < g.forgotten {
		return nil, true, now
	}
	return slices.Clone(g.kept[read-g.forgotten:]), false, now
}
