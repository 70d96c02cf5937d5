package layer2

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// A claimTiming is how a family asks before a first claim.
type claimTiming struct {
	// wait is the longest random time before the first probe, so that nodes that claim at the same
	// moment do not ask in step (PROBE_WAIT).
	wait time.Duration
	// interval is the time from one probe to the next (PROBE_MIN to PROBE_MAX), and settle from the
	// last one to the verdict (ANNOUNCE_WAIT). A single probe is waited for as long as all together.
	interval, settle time.Duration
	// trial is how long a trial of canaries takes.
	trial time.Duration
}

// The times of RFC 5227 §1.1 are for hosts that are plugged in by people: with them a first answer
// would take from 4 to 9 seconds. What is asked for here is asked for on a wire that is up and by a node that
// stays; who is asleep and answers late is found by looking now and then. In IPv6 the time in all
// is RetransTimer, as in RFC 4862 with its one probe.
var claimTimings = [families]claimTiming{
	IPv4: {wait: 20 * time.Millisecond, interval: 90 * time.Millisecond, settle: 100 * time.Millisecond, trial: 150 * time.Millisecond},
	IPv6: {wait: 50 * time.Millisecond, interval: 250 * time.Millisecond, settle: 450 * time.Millisecond, trial: 300 * time.Millisecond},
}

const (
	// claimProbes is how many probes come before a claim (PROBE_NUM). While many addresses are being claimed
	// at once there are fewer of each, so that they fit into the pace.
	claimProbes = 3
	// An address that another host holds is asked for again after a while that doubles.
	withheldFirst = 5 * time.Second
	withheldLast  = time.Minute
	// defendInterval is the least time from one defence of an address to the next
	// (DEFEND_INTERVAL).
	defendInterval = 10 * time.Second
	// Where somebody else answers for an address, there is a closer look: a few times soon, then now and then.
	lookSoon  = 2 * time.Second
	lookLater = 30 * time.Second
	soonLooks = 3
	// nodeLooks is in how many looks another node must have answered until that is no
	// hand-over any more.
	nodeLooks = 3
	// quietLooks is after how many looks in a row without an answer a conflict is over.
	quietLooks = 2
	// trialMemory is how long what canaries told is true.
	trialMemory = 10 * time.Minute
	// maxRivals is how many MACs are remembered for an address.
	maxRivals = 4
)

// contests finds out who else has the addresses of one segment. It is a pure function of the calls made to
// it; the time is an argument, and so is chance.
//
//	claim ──► probing ──(nobody)────────────────────────────► clear
//	             │ ▲                                            ▲
//	        rival│ └──(back-off)── withheld ◄──(foreign)──┐     │(a proxy)
//	             ▼                                        │     │
//	          judging: do they answer for canaries, too? ─┴─────┘
//
//	heard, of an address that is answered ──► defend ──► watched: judging, looking ──(quiet)──► over
//
// Addresses that nobody else has cost nothing here once they are clear.
type contests struct {
	family Family
	pace   *rate.Limiter
	random func() float64 // in [0, 1)
	// isNode reports whether a MAC is a node's, and inUse whether an address is announced by this one.
	isNode func(MAC) bool
	inUse  func(netip.Addr) bool
	// networks returns those attached to the link.
	networks func() []netip.Prefix

	subjects map[netip.Addr]*subject
	due      queue[*subject]
	probing  int
	trials   map[netip.Prefix]*trial
	canaries map[netip.Addr]*trial
	version  uint64            // of canaries
	proxies  map[MAC]time.Time // until when it is one
	// news is whether list would say something else than the last time.
	news bool
}

type phase uint8

const (
	probing phase = iota
	withheld
	watched
)

// A subject is an address that is being claimed, or that somebody else has.
type subject struct {
	address netip.Addr
	mode    ConflictMode
	phase   phase
	due     time.Time
	sent    int // probes, or looks
	wanted  int // probes
	judging bool

	rivals  []MAC // foreign, as far as is known
	foreign MAC   // told: the foreign MAC
	node    MAC   // told, or suspected: another node's MAC
	since   time.Time

	answers  int // looks that the node answered
	answered time.Time
	quiet    int  // looks in a row that nobody answered
	heard    bool // since the last look
	failures int  // claims in a row
	defended time.Time
	place
}

// A deed is what contests want done.
type deed struct {
	kind    deedKind
	address netip.Addr
	to      MAC // of deedProbeOne and deedAskOne: who is asked
}

type deedKind uint8

const (
	// deedProbe: ask for an address before it is claimed, deedLook: ask who else has it.
	deedProbe deedKind = iota
	deedLook
	// deedProbeOne: ask one host for a canary, as a probe; deedAskOne: the same, by an ordinary request.
	deedProbeOne
	deedAskOne
	// deedDefend: announce an address at once.
	deedDefend
	// deedClear: an address is nobody else's, answer for it.
	deedClear
	// deedWithhold: an address is somebody else's.
	deedWithhold
)

func newContests(f Family, pace *rate.Limiter, networks func() []netip.Prefix, random func() float64,
	isNode func(MAC) bool, inUse func(netip.Addr) bool) *contests {
	return &contests{
		family: f, pace: pace, networks: networks, random: random, isNode: isNode, inUse: inUse,
		subjects: make(map[netip.Addr]*subject), trials: make(map[netip.Prefix]*trial),
		canaries: make(map[netip.Addr]*trial), proxies: make(map[MAC]time.Time),
		due: queue[*subject]{before: func(a, b *subject) bool { return a.due.Before(b.due) }},
	}
}

// claim begins to find out whether another host has the address.
func (c *contests) claim(now time.Time, address netip.Addr, mode ConflictMode) {
	c.drop(address)
	c.probe(now, &subject{address: address, mode: mode})
}

// probe begins the probes for a subject that is in no phase.
func (c *contests) probe(now time.Time, s *subject) {
	c.probing++
	c.news = true
	s.phase, s.sent, s.judging, s.rivals = probing, 0, false, nil
	s.wanted = claimProbes
	if crowd := float64(c.pace.Limit()) / 10; float64(c.probing) > crowd {
		s.wanted = 1
	}
	c.wait(s, now.Add(time.Duration(c.random()*float64(c.timing().wait))))
}

func (c *contests) timing() claimTiming { return claimTimings[c.family] }

// wait sets when a subject is due.
func (c *contests) wait(s *subject, due time.Time) {
	s.due = due
	if c.subjects[s.address] == s {
		c.due.moved(s)
		return
	}
	c.subjects[s.address] = s
	c.due.push(s)
}

// drop forgets an address.
func (c *contests) drop(address netip.Addr) {
	s := c.subjects[address]
	if s == nil {
		return
	}
	if s.phase == probing {
		c.probing--
	}
	delete(c.subjects, address)
	c.due.remove(s)
	c.news = true
}

// A remark is what was heard of an address.
type remark struct {
	address netip.Addr
	mac     MAC
	// answer is whether it answers a probe or a look, and probe whether it is itself a probe: somebody
	// else is about to claim the address.
	answer, probe bool
	// mode is that of the address, which is answered here.
	mode ConflictMode
}

// heard takes in what another host, whose MAC is none of this node's, has said. rival is true when that is
// another node, and so a matter of ownership.
func (c *contests) heard(now time.Time, r remark) (rival bool) {
	if t := c.canaries[r.address]; t != nil {
		t.heard(r.address, r.mac)
		return false
	}
	if r.mode == ConflictOff {
		return false
	}
	s := c.subjects[r.address]
	if c.isNode(r.mac) {
		if r.answer {
			c.heardNode(now, s, r)
		}
		return !r.probe
	}
	if now.Before(c.proxies[r.mac]) {
		return false
	}
	if s == nil {
		if r.probe {
			return false // it is told so by the answer
		}
		s = &subject{address: r.address, mode: r.mode, phase: watched, since: now}
		c.wait(s, now)
	}
	s.heard = true
	if len(s.rivals) < maxRivals && !slices.Contains(s.rivals, r.mac) {
		s.rivals = append(s.rivals, r.mac)
		c.try(now, r.address, r.mac)
		if s.phase == watched {
			s.judging = true
			c.wait(s, now)
		}
	} else if s.phase == watched && !s.judging && s.mode == ConflictEnforce && now.Sub(s.defended) >= defendInterval {
		s.judging = true // defended first, and found foreign once more
		c.wait(s, now)
	}
	return false
}

// heardNode takes in that another node answered a probe or a look.
func (c *contests) heardNode(now time.Time, s *subject, r remark) {
	if s == nil {
		s = &subject{address: r.address, mode: r.mode, phase: watched, since: now}
		c.wait(s, now.Add(lookSoon))
	}
	s.heard = true
	if s.phase == watched && now.Sub(s.answered) >= lookSoon/2 {
		s.node, s.answered = r.mac, now
		if s.answers++; s.answers == nodeLooks {
			c.news = true
		}
	}
}

// next returns what to do now. If there is nothing, ok is false and wake is when to ask again;
// zero for not before something is heard or claimed.
func (c *contests) next(now time.Time) (d deed, ok bool, wake time.Time) {
	for {
		t, at := c.nextAsk()
		var s *subject
		if c.due.Len() > 0 {
			s = c.due.first()
		}
		switch {
		case s == nil && t == nil:
			return deed{}, false, time.Time{}
		case t != nil && (s == nil || at.Before(s.due)):
			if at.After(now) {
				return deed{}, false, at
			}
			if wake := paced(c.pace, now); !wake.IsZero() {
				return deed{}, false, wake
			}
			ask := t.asks[0]
			t.asks = t.asks[1:]
			return deed{ask.kind, ask.canary, ask.to}, true, time.Time{}
		case s.due.After(now):
			return deed{}, false, s.due
		}
		if s.asks() {
			if wake := paced(c.pace, now); !wake.IsZero() {
				return deed{}, false, wake
			}
		}
		if d, ok := c.step(now, s); ok {
			return d, true, time.Time{}
		}
	}
}

// asks reports whether the next step of s sends a frame.
func (s *subject) asks() bool {
	return s.phase == probing && s.sent < s.wanted && len(s.rivals) == 0 || s.phase == watched && !s.judging
}

// paced takes one frame from the pace, or returns when there will be one.
func paced(pace *rate.Limiter, now time.Time) (wake time.Time) {
	r := pace.ReserveN(now, 1)
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		return now.Add(max(d, burstPause))
	}
	return time.Time{}
}

// step does what is due for s.
func (c *contests) step(now time.Time, s *subject) (deed, bool) {
	switch s.phase {
	case probing:
		return c.stepProbing(now, s)
	case withheld:
		c.probe(now, s)
		return deed{}, false
	default:
		return c.stepWatched(now, s)
	}
}

func (c *contests) stepProbing(now time.Time, s *subject) (deed, bool) {
	timing := c.timing()
	if s.asks() {
		s.sent++
		switch {
		case s.sent < s.wanted:
			c.wait(s, now.Add(timing.interval))
		case s.wanted == 1:
			c.wait(s, now.Add(timing.interval*(claimProbes-1)+timing.settle))
		default:
			c.wait(s, now.Add(timing.settle))
		}
		return deed{kind: deedProbe, address: s.address}, true
	}
	rival, until := c.judge(now, s)
	if !until.IsZero() {
		c.wait(s, until)
		return deed{}, false
	}
	if rival.IsZero() && s.sent < s.wanted {
		return deed{}, false // only proxies answered so far
	}
	c.probing--
	switch {
	case rival.IsZero():
		return c.end(s)
	case s.mode != ConflictEnforce:
		s.phase, s.foreign, s.since, s.sent, s.quiet = watched, rival, now, 0, 0
		c.wait(s, now.Add(lookSoon))
	default:
		if s.phase = withheld; s.foreign.IsZero() {
			s.since = now
		}
		s.foreign = rival
		s.failures++
		pause := min(withheldFirst<<min(s.failures-1, 8), withheldLast)
		c.wait(s, now.Add(pause+time.Duration(c.random()*float64(pause)/4)))
	}
	c.news = true
	return deed{kind: deedWithhold, address: s.address}, true
}

// end is for an address that is nobody else's.
func (c *contests) end(s *subject) (deed, bool) {
	s.phase = watched // it is counted as probing no more
	c.drop(s.address)
	return deed{kind: deedClear, address: s.address}, true
}

// stepWatched looks at an address that is answered here, and elsewhere.
func (c *contests) stepWatched(now time.Time, s *subject) (deed, bool) {
	if s.judging {
		if s.mode == ConflictEnforce && now.Sub(s.defended) >= defendInterval {
			s.defended = now
			return deed{kind: deedDefend, address: s.address}, true
		}
		rival, until := c.judge(now, s)
		if !until.IsZero() {
			c.wait(s, until)
			return deed{}, false
		}
		s.judging = false
		if rival != s.foreign {
			s.foreign = rival
			c.news = true
		}
		if rival.IsZero() && s.answers == 0 {
			c.drop(s.address) // they were proxies
			return deed{}, false
		}
		c.wait(s, now.Add(lookSoon))
		return deed{}, false
	}
	if s.quiet++; s.heard {
		s.quiet, s.heard = 0, false
	}
	if s.quiet > quietLooks {
		c.drop(s.address)
		return deed{}, false
	}
	pause := lookLater
	if s.sent++; s.sent < soonLooks || s.quiet > 0 {
		pause = lookSoon
	}
	c.wait(s, now.Add(pause))
	return deed{kind: deedLook, address: s.address}, true
}

// judge returns the first rival that is no proxy, or when that will be known. Proxies are struck off.
func (c *contests) judge(now time.Time, s *subject) (rival MAC, until time.Time) {
	if len(s.rivals) == 0 {
		return MAC{}, time.Time{}
	}
	var rivals []MAC
	for _, m := range s.rivals {
		proxy, known := c.verdict(now, s.address, m)
		switch {
		case !known.IsZero():
			return MAC{}, known
		case !proxy:
			rivals = append(rivals, m)
			continue
		case !now.Before(c.proxies[m]):
			c.news = true
		}
		c.proxies[m] = now.Add(trialMemory)
	}
	s.rivals = rivals
	if len(s.rivals) == 0 {
		return MAC{}, time.Time{}
	}
	return s.rivals[0], time.Time{}
}

// claiming returns the addresses of which it is being found out whether another host has them, in order.
func (c *contests) claiming() []netip.Addr {
	var all []netip.Addr
	for _, s := range c.due.items {
		if s.phase == probing && s.foreign.IsZero() && s.mode == ConflictEnforce {
			all = append(all, s.address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// list returns the conflicts in order of address and kind, and the proxies in order.
func (c *contests) list(now time.Time) (conflicts []Conflict, proxies []MAC) {
	c.news = false
	for _, s := range c.subjects {
		conflicts = append(conflicts, s.conflicts()...)
	}
	slices.SortFunc(conflicts, Conflict.compare)
	maps.DeleteFunc(c.proxies, func(_ MAC, until time.Time) bool { return !now.Before(until) })
	return conflicts, slices.SortedFunc(maps.Keys(c.proxies), func(a, b MAC) int { return slices.Compare(a[:], b[:]) })
}

func (s *subject) conflicts() []Conflict {
	var all []Conflict
	if !s.foreign.IsZero() {
		all = append(all, Conflict{s.address, ForeignHost, s.foreign, s.phase != watched, s.since})
	}
	if s.answers >= nodeLooks {
		all = append(all, Conflict{s.address, KubeProxyAnswersARP, s.node, false, s.since})
	}
	return all
}
