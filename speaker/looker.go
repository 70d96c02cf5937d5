package speaker

import (
	"slices"
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

	mu    sync.Mutex
	next  uint64
	asked map[uint64]*look
	open  map[ownership.Unit]*look
	queue []*look // that wait for others to end
	out   int     // probes under way
	// sending is whether somebody is about to send.
	sending bool
}

// A look is for one address. It has a few rounds, in each of which it is asked for once on each interface, and ends
// with the first answer of a node.
type look struct {
	unit   ownership.Unit
	at     place
	rounds int // begun
	out    int // probes under way
	found  ownership.Evidence
}

const (
	lookRounds = 3
	lookFor    = 200 * time.Millisecond
	// maxLooks is how many probes may be under way: a node that falls silent may have had thousands of addresses, and
	// layer 2's prober has to have room for what is more urgent.
	maxLooks = 2048
)

func newLooker(found func(...ownership.Evidence)) *looker {
	return &looker{found: found, asked: map[uint64]*look{}, open: map[ownership.Unit]*look{}}
}

// place is where to look for an address, and which MACs are nodes'.
type place struct {
	interfaces []string
	members    []layer2.MAC
}

// look looks for an address; what is seen is told to found.
func (l *looker) look(u ownership.Unit, at place) {
	l.mu.Lock()
	if l.open[u] == nil && len(at.interfaces) > 0 {
		k := &look{unit: u, at: at, found: ownership.Evidence{Unit: u}}
		l.open[u] = k
		l.queue = append(l.queue, k)
	}
	l.goOn()
}

// goOn begins the rounds for which there is room, and frees the lock. What can't be sent comes back before probe returns,
// and makes room for more: whoever sends goes on until there is none left.
func (l *looker) goOn() {
	defer l.mu.Unlock()
	if l.sending {
		return
	}
	l.sending = true
	for probes := l.begin(); len(probes) > 0; probes = l.begin() {
		l.mu.Unlock()
		l.probe(probes...)
		l.mu.Lock()
	}
	l.sending = false
}

// begin begins the rounds for which there is room. It is called with the lock held.
func (l *looker) begin() (probes []layer2.Probe) {
	deadline := time.Now().Add(lookFor)
	for len(l.queue) > 0 && (l.out == 0 || l.out+len(l.queue[0].at.interfaces) <= maxLooks) {
		k := l.queue[0]
		l.queue = l.queue[1:]
		k.rounds++
		for _, name := range k.at.interfaces {
			l.next++
			l.asked[l.next] = k
			k.out++
			l.out++
			probes = append(probes, layer2.Probe{ID: l.next | lookBit, Method: layer2.ProbeNeighbor, Interface: name, Target: k.unit.Address, Deadline: deadline})
		}
	}
	return probes
}

// result takes in what became of a probe.
func (l *looker) result(r layer2.ProbeResult) {
	l.mu.Lock()
	k := l.asked[r.ID&^lookBit]
	if k == nil {
		l.mu.Unlock()
		return
	}
	delete(l.asked, r.ID&^lookBit)
	l.out--
	k.out--
	k.take(r)
	done := false
	if k.out == 0 {
		if done = k.found.Found == ownership.FoundMember || k.rounds == lookRounds; done {
			delete(l.open, k.unit)
		} else {
			l.queue = append(l.queue, k)
		}
	}
	l.goOn()
	if done {
		if k.found.Found == 0 {
			k.found.Found = ownership.FoundMember // nothing could be asked, and that shows nothing: nobody takes what may be another's
		}
		l.found(k.found)
	}
}

// take takes in what one probe showed. That a node answers says more than that others do, and that more than silence.
func (k *look) take(r layer2.ProbeResult) {
	switch {
	case r.Outcome == layer2.ProbeNotSent || k.found.Found == ownership.FoundMember:
	case r.Outcome != layer2.ProbeAnswered:
		if k.found.Found == 0 {
			k.found.Found = ownership.FoundFree
		}
	case slices.Contains(k.at.members, r.MAC):
		k.found.Found, k.found.By = ownership.FoundMember, r.MAC.String()
	default:
		k.found.Found, k.found.By = ownership.FoundHeld, r.MAC.String()
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
