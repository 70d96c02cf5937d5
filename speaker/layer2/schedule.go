package layer2

import (
	"cmp"
	"container/heap"
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
//	         by time           by step                    └────► done after the last
//
// Of what is ready, lower steps go first: when many addresses are taken at
// once, each is announced once before any is announced again. Each step waits
// for its delay since the one before was really sent, so that a jam stretches the
// rounds and does not fold them into one.
type schedule struct {
	forms   int // frames per round
	pace    *rate.Limiter
	entries map[netip.Addr]*entry
	waiting entryHeap
	ready   entryHeap
	added   uint64
}

type entry struct {
	address netip.Addr
	step    step
	due     time.Time
	order   uint64 // of being added
	index   int    // in its heap
	heap    *entryHeap
}

// newSchedule returns an empty schedule for a family with that many forms of
// frames; pace may be shared with other schedules.
func newSchedule(forms int, pace *rate.Limiter) *schedule {
	return &schedule{
		forms:   forms,
		pace:    pace,
		entries: make(map[netip.Addr]*entry),
		waiting: entryHeap{before: func(a, b *entry) bool {
			return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.order, b.order)) < 0
		}},
		ready: entryHeap{before: func(a, b *entry) bool {
			return cmp.Or(cmp.Compare(a.step, b.step), a.due.Compare(b.due), cmp.Compare(a.order, b.order)) < 0
		}},
	}
}

// add begins to announce an address, from the start if it is being announced.
func (s *schedule) add(now time.Time, address netip.Addr) {
	s.remove(address)
	s.added++
	e := &entry{address: address, due: now, order: s.added}
	s.entries[address] = e
	s.waiting.push(e)
}

// remove stops announcing an address.
func (s *schedule) remove(address netip.Addr) {
	if e := s.entries[address]; e != nil {
		heap.Remove(e.heap, e.index)
		delete(s.entries, address)
	}
}

// next returns the frame to send now: which form of which address. If there is
// none, ok is false and wake is when to ask again; zero for not before add.
func (s *schedule) next(now time.Time) (address netip.Addr, form int, ok bool, wake time.Time) {
	for s.waiting.Len() > 0 && !s.waiting.first().due.After(now) {
		s.ready.push(s.waiting.pop())
	}
	if s.ready.Len() == 0 {
		if s.waiting.Len() > 0 {
			wake = s.waiting.first().due
		}
		return netip.Addr{}, 0, false, wake
	}
	if r := s.pace.ReserveN(now, 1); r.DelayFrom(now) > 0 {
		wake = now.Add(max(r.DelayFrom(now), burstPause))
		r.CancelAt(now)
		return netip.Addr{}, 0, false, wake
	}

	e := s.ready.pop()
	address, form = e.address, int(e.step)%s.forms
	if e.step+1 < stepCount(s.forms) {
		e.due = now.Add(e.step.delay(s.forms))
		e.step++
		s.waiting.push(e)
	} else {
		delete(s.entries, address)
	}
	return address, form, true, time.Time{}
}

// An entryHeap is a heap of entries that know where they are.
type entryHeap struct {
	entries []*entry
	before  func(a, b *entry) bool
}

func (h *entryHeap) first() *entry { return h.entries[0] }
func (h *entryHeap) push(e *entry) { heap.Push(h, e) }
func (h *entryHeap) pop() *entry   { return heap.Pop(h).(*entry) }

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (h *entryHeap) Len() int           { return len(h.entries) }
func (h *entryHeap) Less(i, j int) bool { return h.before(h.entries[i], h.entries[j]) }

func (h *entryHeap) Swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].index, h.entries[j].index = i, j
}

func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.index, e.heap = len(h.entries), h
	h.entries = append(h.entries, e)
}

func (h *entryHeap) Pop() any {
	last := len(h.entries) - 1
	e := h.entries[last]
	h.entries[last] = nil
	h.entries = h.entries[:last]
	return e
}
