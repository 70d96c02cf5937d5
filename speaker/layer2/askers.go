package layer2

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// An Asker is a host that lately asked for an address announced, or stood by for, here.
type Asker struct {
	// Address is the host's own.
	Address netip.Addr
	MAC     MAC
	// Asked is when it did so last.
	Asked time.Time
}

const (
	// askersEach is how many hosts are remembered for each address.
	askersEach = 4
	// askersTotal is how many are remembered on a segment, at most.
	askersTotal = 16384
	// askerMemory is how long a host is of use. A host that goes on sending confirms what it knows by asking the owner alone, of which
	// those who stand by hear nothing: its entry may be much older than its last request.
	askerMemory = 2 * time.Hour
)

// Askers returns the hosts that lately asked for address on the interface, the last one first.
func (a *Announcer) Askers(iface string, address netip.Addr) []Asker {
	address = address.Unmap()
	return a.askersOn(segment{iface, FamilyOf(address)}).of(time.Now(), address)
}

// Hosts returns the hosts that lately asked for anything on the interface, the last one
// first, and at most limit of them: who could be asked whether this node is
// still connected.
func (a *Announcer) Hosts(iface string, family Family, limit int) []Asker {
	return a.askersOn(segment{iface, family}).recent(time.Now(), limit)
}

// askersOn returns what is known of a segment; it outlives responders.
func (a *Announcer) askersOn(s segment) *askers {
	a.askersLock.Lock()
	defer a.askersLock.Unlock()
	if a.askers[s] == nil {
		a.askers[s] = newAskers()
	}
	return a.askers[s]
}

// forgetAskers forgets what is known of segments on interfaces that are gone.
func (a *Announcer) forgetAskers(exists func(iface string) bool) {
	a.askersLock.Lock()
	defer a.askersLock.Unlock()
	for s := range a.askers {
		if !exists(s.iface) {
			delete(a.askers, s)
		}
	}
}

// askers remembers who asked on one segment: a few hosts for each address, within a bound.
type askers struct {
	mu    sync.Mutex
	by    map[netip.Addr]*[askersEach]Asker // by the address asked for
	limit int                               // of addresses
	hosts [32]Asker                         // that asked for anything, in any order
}

func newAskers() *askers {
	return &askers{by: make(map[netip.Addr]*[askersEach]Asker), limit: askersTotal / askersEach}
}

// note remembers that a host asked for address.
func (k *askers) note(now time.Time, address, asker netip.Addr, mac MAC) {
	if asker.IsUnspecified() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	list := k.by[address]
	if list == nil {
		if len(k.by) >= k.limit {
			k.evict()
		}
		list = new([askersEach]Asker)
		k.by[address] = list
	}
	host := Asker{asker, mac, now}
	remember(list[:], host)
	remember(k.hosts[:], host)
}

// remember puts a host in its place, a free one, or that of who has not asked for longest.
func remember(list []Asker, host Asker) {
	place := 0
	for i := range list {
		if list[i].Address == host.Address {
			place = i
			break
		}
		if list[i].Asked.Before(list[place].Asked) {
			place = i
		}
	}
	list[place] = host
}

// evictSample is how many addresses are looked at to forget the one not asked for longest.
const evictSample = 8

func (k *askers) evict() {
	var oldest netip.Addr
	var when time.Time
	seen := 0
	for address, list := range k.by {
		if last := lastOf(list[:]); seen == 0 || last.Before(when) {
			oldest, when = address, last
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(k.by, oldest)
}

func lastOf(list []Asker) time.Time {
	var last time.Time
	for _, h := range list {
		if h.Asked.After(last) {
			last = h.Asked
		}
	}
	return last
}

// last returns when address was asked for last, zero if that is not known.
func (k *askers) last(address netip.Addr) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if list := k.by[address]; list != nil {
		return lastOf(list[:])
	}
	return time.Time{}
}

// askedFirst puts those of addresses first that were asked for, the last one first; the others stay in order.
func (k *askers) askedFirst(addresses []netip.Addr) {
	if len(addresses) < 2 {
		return
	}
	asked := make(map[netip.Addr]time.Time)
	k.mu.Lock()
	for _, a := range addresses {
		if list := k.by[a]; list != nil {
			asked[a] = lastOf(list[:])
		}
	}
	k.mu.Unlock()
	if len(asked) == 0 {
		return
	}
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return asked[b].Compare(asked[a]) })
}

// of returns who asked for address lately, the last one first.
func (k *askers) of(now time.Time, address netip.Addr) []Asker {
	k.mu.Lock()
	defer k.mu.Unlock()
	if list := k.by[address]; list != nil {
		return lately(now, list[:], askersEach)
	}
	return nil
}

func (k *askers) recent(now time.Time, limit int) []Asker {
	k.mu.Lock()
	defer k.mu.Unlock()
	return lately(now, k.hosts[:], limit)
}

func lately(now time.Time, list []Asker, limit int) []Asker {
	var all []Asker
	for _, h := range list {
		if h.Address.IsValid() && now.Sub(h.Asked) < askerMemory {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b Asker) int { return b.Asked.Compare(a.Asked) })
	return all[:min(limit, len(all))]
}
