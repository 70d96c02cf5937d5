package speaker

import (
	"sync"
	"time"

	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/ownership"
)

// looker looks on the wire who answers for addresses that another node owns, whose speaker is silent: if it is only gossip
// that is cut, that speaker answers still, and nobody may take over.
type looker struct {
	probe func(...layer2.Probe)
	found func(...ownership.Evidence)

	mu     sync.Mutex
	next   uint64
	asked  map[uint64]ownership.Unit
	open   map[ownership.Unit]int // probes that have no result yet
	member map[layer2.MAC]bool
	best   map[ownership.Unit]ownership.Evidence
}

const (
	lookRounds = 3
	lookFor    = 300 * time.Millisecond
)

func newLooker(found func(...ownership.Evidence)) *looker {
	return &looker{found: found, asked: map[uint64]ownership.Unit{}, open: map[ownership.Unit]int{}, best: map[ownership.Unit]ownership.Evidence{}}
}

// place is where to look for an address, and which MACs are nodes'.
type place struct {
	interfaces []string
	members    []layer2.MAC
}

// look looks for an address; what is seen is told to found.
func (l *looker) look(u ownership.Unit, at place) {
	var probes []layer2.Probe
	l.mu.Lock()
	if l.open[u] == 0 && len(at.interfaces) > 0 {
		l.member = map[layer2.MAC]bool{}
		for _, mac := range at.members {
			l.member[mac] = true
		}
		now := time.Now()
		for _, name := range at.interfaces {
			for i := range lookRounds {
				l.next++
				l.asked[l.next] = u
				l.open[u]++
				probes = append(probes, layer2.Probe{ID: l.next | lookBit, Method: layer2.ProbeNeighbor, Interface: name, Target: u.Address,
					Deadline: now.Add(time.Duration(i+1) * lookFor)})
			}
		}
	}
	l.mu.Unlock()
	l.probe(probes...)
}

// result takes in what became of a probe.
func (l *looker) result(r layer2.ProbeResult) {
	l.mu.Lock()
	u, asked := l.asked[r.ID&^lookBit]
	delete(l.asked, r.ID&^lookBit)
	if !asked {
		l.mu.Unlock()
		return
	}
	e, seen := l.best[u]
	if !seen {
		e = ownership.Evidence{Unit: u, Found: ownership.FoundFree}
	}
	if r.Outcome == layer2.ProbeAnswered {
		e.By = r.MAC.String()
		e.Found = ownership.FoundHeld
		if l.member[r.MAC] {
			e.Found = ownership.FoundMember
		}
	}
	l.best[u] = e
	l.open[u]--
	done := l.open[u] == 0
	if done {
		delete(l.open, u)
		delete(l.best, u)
	}
	l.mu.Unlock()
	if done {
		l.found(e)
	}
}

// whereToLook returns where an address would be answered.
func (d *decider) whereToLook(u ownership.Unit) place {
	a := d.addresses[u.Address]
	if a == nil {
		return place{}
	}
	return place{interfaces: a.interfaces, members: d.knownMACs()}
}
