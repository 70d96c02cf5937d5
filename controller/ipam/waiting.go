package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/btree"
)

// waiting is who waits for what. A waiter is woken when something it waits for has changed, and no more waiters
// are woken than could be served: one free address wakes one waiter, and when that one turns out not to take it, the
// next. Woken waiters are handed to the caller, who must bring each back by Assign or Release.
type waiting struct {
	byKey map[Key]*waiter
	lines map[Cause]*line
	share map[Cause]map[*line]bool // the lines for CauseSharing, by the group of Services that they are about
	turn  uint64                   // counts those who began to wait
	woken []Key
}

// waiter is a Service that waits.
type waiter struct {
	key   Key
	turn  uint64 // of its beginning to wait; kept when it is tried in vain
	lines []*line
	tried []uint64 // beside lines: the line's epoch when it was last tried
	woken bool
}

// line is those who wait for one cause.
type line struct {
	cause Cause
	ports []Port // of the cause, if it is CauseSharing
	since uint64 // the turn when it came to be
	// epoch counts the times that the cause changed. A waiter that was tried since is not woken again for it.
	epoch  uint64
	asleep *btree.BTreeG[place]
	woken  int     // how many of the line are on their way
	manner *manner // of the cause's address, as those in the line were told; nil where it is no CauseAddress
}

// place is a waiter in a line: those tried longest ago are first, then those who wait longest.
type place struct {
	tried, turn uint64
	waiter      *waiter
}

func newWaiting() *waiting {
	return &waiting{byKey: map[Key]*waiter{}, lines: map[Cause]*line{}, share: map[Cause]map[*line]bool{}}
}

func byTurn(a, b place) bool {
	return a.tried < b.tried || a.tried == b.tried && a.turn < b.turn
}

// add makes a Service wait for causes; turn is what leave returned for it, or 0.
func (w *waiting) add(k Key, turn uint64, causes []Cause) {
	if len(causes) == 0 {
		return
	}
	if turn == 0 {
		w.turn++
		turn = w.turn
	}
	it := &waiter{key: k, turn: turn, lines: make([]*line, 0, len(causes)), tried: make([]uint64, 0, len(causes))}
	for i, c := range causes {
		if slices.Contains(causes[:i], c) {
			continue
		}
		l := w.lines[c]
		if l == nil {
			l = &line{cause: c, asleep: btree.NewG(8, byTurn)}
			w.open(c, l)
		}
		it.lines, it.tried = append(it.lines, l), append(it.tried, l.epoch)
		l.asleep.ReplaceOrInsert(place{l.epoch, turn, it})
	}
	w.byKey[k] = it
}

func (w *waiting) open(c Cause, l *line) {
	w.lines[c] = l
	if c.Kind != CauseSharing {
		return
	}
	l.ports, l.since = c.ports(), w.turn
	group := c.group()
	if w.share[group] == nil {
		w.share[group] = map[*line]bool{}
	}
	w.share[group][l] = true
}

func (w *waiting) close(l *line) {
	delete(w.lines, l.cause)
	if l.cause.Kind != CauseSharing {
		return
	}
	group := l.cause.group()
	if delete(w.share[group], l); len(w.share[group]) == 0 {
		delete(w.share, group)
	}
}

// sharing lists the causes of those who wait to share in a group, as far as they are of some sort, in order.
func (w *waiting) sharing(group Cause, is func(*line) bool) (out []Cause) {
	var lines []*line
	for l := range w.share[group] {
		if is(l) {
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(a, b *line) int {
		x, y := a.cause, b.cause
		return cmp.Or(cmp.Compare(a.since, b.since), comparePorts(x.Port, y.Port), strings.Compare(x.Ports, y.Ports), x.Address.Compare(y.Address))
	})
	for _, l := range lines {
		out = append(out, l.cause)
	}
	return out
}

// group is the group of Services that a CauseSharing is about.
func (c Cause) group() Cause {
	c.Port, c.Ports, c.Address = Port{}, "", netip.Addr{}
	return c
}

// ports are those that a CauseSharing is about.
func (c Cause) ports() (out []Port) {
	if c.Ports == "" {
		return []Port{c.Port}
	}
	for _, text := range strings.Fields(c.Ports) {
		protocol, number, _ := strings.Cut(text, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			panic("ports " + c.Ports + " of a cause: " + err.Error()) // written by portsText
		}
		out = append(out, Port{protocol, uint16(n)})
	}
	return out
}

// leave takes a Service out of its lines and returns its turn, and the causes whose next waiter may be due.
func (w *waiting) leave(k Key) (turn uint64, causes []Cause) {
	it := w.byKey[k]
	if it == nil {
		return 0, nil
	}
	delete(w.byKey, k)
	for i, l := range it.lines {
		if it.woken {
			l.woken--
		} else {
			l.asleep.Delete(place{it.tried[i], it.turn, it})
		}
		if l.woken == 0 && l.asleep.Len() == 0 {
			w.close(l)
		} else {
			causes = append(causes, l.cause)
		}
	}
	return it.turn, causes
}

// changed notes that a cause changed.
func (w *waiting) changed(c Cause) {
	if l := w.lines[c]; l != nil {
		l.epoch++
	}
}

// wake wakes waiters for a cause, those who have not been tried since it changed, until as many are on their way
// as it can serve.
func (w *waiting) wake(c Cause, serves Count) {
	l := w.lines[c]
	for l != nil && CountOf(uint64(l.woken)).less(serves) {
		first, ok := l.asleep.Min()
		if !ok || first.tried == l.epoch {
			return
		}
		w.rouse(first.waiter)
	}
}

// wakeAll wakes everybody who waits for a cause.
func (w *waiting) wakeAll(c Cause) {
	if l := w.lines[c]; l != nil {
		w.wakeLines(l)
	}
}

// wakeWhere wakes everybody who waits for a cause of some sort.
func (w *waiting) wakeWhere(is func(Cause) bool) {
	var lines []*line
	for c, l := range w.lines {
		if is(c) {
			lines = append(lines, l)
		}
	}
	w.wakeLines(lines...)
}

// wakeLines wakes everybody in some lines, those first who have waited longest.
func (w *waiting) wakeLines(lines ...*line) {
	var all []*waiter
	for _, l := range lines {
		l.asleep.Ascend(func(p place) bool {
			all = append(all, p.waiter)
			return true
		})
	}
	slices.SortFunc(all, func(a, b *waiter) int { return cmp.Compare(a.turn, b.turn) })
	for _, it := range slices.Compact(all) {
		w.rouse(it)
	}
}

// wakeSharers wakes those in a line who wait to share an address in a group of some sort.
func (w *waiting) wakeSharers(l *line, addr netip.Addr, is func(group Cause) bool) {
	var all []*waiter
	l.asleep.Ascend(func(p place) bool {
		if slices.ContainsFunc(p.waiter.lines, func(l *line) bool {
			return l.cause.Kind == CauseSharing && l.cause.Address == addr && is(l.cause.group())
		}) {
			all = append(all, p.waiter)
		}
		return true
	})
	for _, it := range all {
		w.rouse(it)
	}
}

func (w *waiting) rouse(it *waiter) {
	it.woken = true
	for i, l := range it.lines {
		l.asleep.Delete(place{it.tried[i], it.turn, it})
		l.woken++
	}
	w.woken = append(w.woken, it.key)
}

// call has a Service brought back, whether it waits or not.
func (w *waiting) call(k Key) {
	if it := w.byKey[k]; it == nil {
		w.woken = append(w.woken, k)
	} else if !it.woken {
		w.rouse(it)
	}
}

// rouseKey wakes a Service, if it waits.
func (w *waiting) rouseKey(k Key) {
	if it := w.byKey[k]; it != nil && !it.woken {
		w.rouse(it)
	}
}
