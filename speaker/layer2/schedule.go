package layer2

import (
	"cmp"
	"math"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// rounds are the times after taking an address at which it is announced to all
// who listen. Frames get lost, and switches and hosts that come up at the same
// moment miss the first: three rounds within 200 ms, then at 1, 2 and 4 s.
var rounds = [...]time.Duration{
	0, 80 * time.Millisecond, 180 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
}

// burstPause is how long a schedule that is held up by the pace waits at least,
// so that it sends small bursts and does not wake up for every frame.
const burstPause = 5 * time.Millisecond

// An announced frame takes its form from the step: which of the forms a family
// has, in turn, in each round.
type step int

// stepCount is the number of frames that announce an address of a family.
func stepCount(forms int) step { return step(forms * len(rounds)) }

// delay is the time from sending step s to sending the next.
func (s step) delay(forms int) time.Duration {
	return rounds[int(s+1)/forms] - rounds[int(s)/forms]
}

// A schedule says which frame to send when. It is a pure function of the calls
// made to it; the time is an argument.
//
//	add ──► waiting ──(due)──► ready ──(pace allows)──► sent ──► waiting for the next step
//	  ▲      by time           by step                    │
//	  └─────────────── to be refreshed ◄── after the last ┘
//
// Of what is ready, lower steps go first: when many addresses are taken at
// once, each is announced once before any is announced again. Each step waits
// for its delay since the one before was really sent, so that a jam stretches the
// rounds and does not fold them into one.
type schedule struct {
	forms   int // frames per round
	pace    *rate.Limiter
	entries map[netip.Addr]*entry
	waiting queue[*entry]
	ready   queue[*entry]
	added   uint64
	jam     int // how many waited for their first frame when that was most
	turn    int // counts frames sent in a hurry
	// refresh is the time from one announcement to the next when all rounds are
	// over, zero for never, and random is in [0, 1).
	refresh time.Duration
	random  func() float64
	began   time.Time // what refreshes keep step with
}

type entry struct {
	address netip.Addr
	step    step
	due     time.Time
	order   uint64 // of being added
	asked   time.Time
	again   bool // the round is one that was asked for
	inTurn  bool // it waits to be refreshed, or is being refreshed
	ready   bool // which queue it is in
	place
}

// newSchedule returns an empty schedule for a family with that many forms of
// frames; pace may be shared with other schedules. What was announced is refreshed
// at that interval, in step with those that began then, or never if it is not positive.
func newSchedule(forms int, pace *rate.Limiter, began time.Time, refresh time.Duration, random func() float64) *schedule {
	return &schedule{
		began:   began,
		forms:   forms,
		pace:    pace,
		refresh: refresh,
		random:  random,
		entries: make(map[netip.Addr]*entry),
		waiting: queue[*entry]{before: func(a, b *entry) bool {
			return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.order, b.order)) < 0
		}},
		ready: queue[*entry]{before: func(a, b *entry) bool {
			return cmp.Or(cmp.Compare(a.step, b.step), b.asked.Compare(a.asked), a.due.Compare(b.due), cmp.Compare(a.order, b.order)) < 0
		}},
	}
}

// add begins to announce an address, from the start if it is being announced.
// When it was asked for last, if ever, is asked.
func (s *schedule) add(now time.Time, address netip.Addr, asked time.Time) {
	s.remove(address)
	s.added++
	e := &entry{address: address, due: now, order: s.added, asked: asked}
	s.entries[address] = e
	s.waiting.push(e)
}

// repeat announces an address in one round more, now, and leaves what else is to
// come as it is. If a round of it is due or under way already, that is the one.
func (s *schedule) repeat(now time.Time, address netip.Addr) {
	last := step(s.forms * (len(rounds) - 1))
	e := s.entries[address]
	switch {
	case e == nil:
		s.add(now, address, time.Time{})
		e = s.entries[address]
		e.step, e.again = last, true
		return
	case e.ready, !e.due.After(now):
		return
	case e.inTurn:
		e.inTurn, e.again = false, true
	default:
		e.step -= step(s.forms) // the round that it was announced in last
	}
	e.due = now
	s.waiting.moved(e)
}

// remove stops announcing an address.
func (s *schedule) remove(address netip.Addr) {
	if e := s.entries[address]; e != nil {
		if e.ready {
			s.ready.remove(e)
		} else {
			s.waiting.remove(e)
		}
		delete(s.entries, address)
	}
}

// An outgoing is a frame to be sent: which form of which address, and what else to send after it.
type outgoing struct {
	address netip.Addr
	form    int
	// direct is whether to tell routers and recent askers, look whether to ask who else has the address.
	direct, look bool
}

// next returns the frame to send now. If there is none, ok is false and wake is when to ask again;
// zero for not before add.
func (s *schedule) next(now time.Time) (f outgoing, ok bool, wake time.Time) {
	for s.waiting.Len() > 0 && !s.waiting.first().due.After(now) {
		e := s.waiting.pop()
		e.ready = true
		s.ready.push(e)
	}
	if s.ready.Len() == 0 {
		if s.waiting.Len() > 0 {
			wake = s.waiting.first().due
		}
		return outgoing{}, false, wake
	}
	if !s.free() {
		if wake := paced(s.pace, now); !wake.IsZero() {
			return outgoing{}, false, wake
		}
	}

	e := s.ready.pop()
	e.ready = false
	round := int(e.step) / s.forms
	last := int(e.step)%s.forms == s.forms-1 && round == len(rounds)-1
	f = outgoing{address: e.address, form: int(e.step) % s.forms, look: last && !e.again}
	// Not with the first frame: that of others comes before.
	f.direct = e.step == 1 || int(e.step)%s.forms == 0 && rounds[round] == time.Second
	switch {
	case e.step+1 < stepCount(s.forms):
		next := e.step + 1
		if round == 0 && s.ready.Len() > crowded {
			next = step(s.forms * calmRound)
		}
		e.due = now.Add(rounds[int(next)/s.forms] - rounds[round])
		e.step = next
		s.waiting.push(e)
	case s.refresh > 0:
		e.due = s.together(now.Add(s.pause(e.inTurn)))
		e.step, e.inTurn, e.again = stepCount(s.forms)-step(s.forms), true, false
		s.waiting.push(e)
	default:
		delete(s.entries, e.address)
	}
	return f, true, time.Time{}
}

const (
	// crowded is how many addresses must be waiting for an address to go from its first round to
	// calmRound, the first that is not in the rush.
	crowded   = 1000
	calmRound = 3
	// firstWithin is how long it takes at most until each of many addresses was announced once, if need be
	// at a multiple of the pace, up to hurry times it.
	firstWithin = 2 * time.Second
	hurry       = 4
)

// free reports whether the next frame costs nothing of the pace: of the first ones of very many addresses, some
// do.
func (s *schedule) free() bool {
	if s.ready.first().step > 0 {
		s.jam = 0
		return false
	}
	s.jam = max(s.jam, s.ready.Len())
	fits := float64(s.pace.Limit()) * firstWithin.Seconds()
	times := min(int(math.Ceil(float64(s.jam)/fits)), hurry)
	if times <= 1 {
		return false
	}
	s.turn = (s.turn + 1) % times
	return s.turn != 0
}

// refreshesTogether is how far apart refreshes go out, those due until then together, of all interfaces and both families: with
// thousands of addresses, neither this process nor those that hear it have to wake up for each. It is at most a sixtieth of the
// interval.
const refreshesTogether = time.Second

// together returns when what is due then is refreshed.
func (s *schedule) together(due time.Time) time.Time {
	step := min(refreshesTogether, s.refresh/60)
	if step <= 0 {
		return due
	}
	late := due.Sub(s.began) % step
	return due.Add((step - late) % step)
}

// refreshJitter is by how much of the interval a refresh comes early or late.
const refreshJitter = 0.25

// pause returns the time until an address is refreshed. What was announced out of
// turn was probably announced together with many others, so its turn comes
// anywhere in the interval: refreshes are spread evenly from the first one on, and
// stay so. From then on they keep the interval, but for the jitter.
func (s *schedule) pause(inTurn bool) time.Duration {
	share := s.random()
	if inTurn {
		share = 1 + refreshJitter*(2*share-1)
	}
	interval := max(s.refresh, time.Duration(len(s.entries))*time.Second/refreshesPerSecond)
	return time.Duration(share * float64(interval))
}

// refreshesPerSecond is how many addresses are refreshed in a second at most: of more than fit into the interval at that pace, each
// comes round less often. It is a gentle reminder, and every frame of it is heard by the whole segment.
const refreshesPerSecond = 5
