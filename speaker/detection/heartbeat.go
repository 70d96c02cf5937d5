package detection

import (
	"slices"
	"time"
)

// setFlags takes note of what this speaker says of itself. Monitors learn of a change at once.
func (m *Machine) setFlags(f Flags, turning bool) {
	if f != m.flags || turning && !m.turning {
		m.beatAt, m.beatHurry = m.now, 2
	}
	m.flags, m.turning = f, turning
}

// heartbeat sends one when it is time.
func (m *Machine) heartbeat() {
	m.probeBy = m.now
	if m.now.Before(m.beatAt) {
		m.wake(m.beatAt)
		return
	}
	if m.turning {
		m.beatSeq++
		if len(m.monitors) > 0 {
			m.out.Send = append(m.out.Send, Send{To: m.monitors, Payload: encodeBeat(m.beat(false))})
		}
		if len(m.released) > 0 {
			m.out.Send = append(m.out.Send, Send{To: sortedKeys(m.released), Payload: encodeBeat(m.beat(true))})
			for name := range m.released {
				if m.released[name]--; m.released[name] == 0 {
					delete(m.released, name)
				}
			}
		}
	}
	next := m.jitter(m.config.Interval, 4)
	if m.beatHurry > 0 {
		m.beatHurry--
		next = min(next, 15*time.Millisecond)
	}
	m.beatAt = m.now.Add(next)
	m.wake(m.beatAt)
	// Whoever is awake for a heartbeat need not wake up once more for the probes in between.
	m.probeBy = m.now.Add(min(next, peaceTogether))
}

func (m *Machine) beat(released bool) beat {
	return beat{seq: m.beatSeq, flags: m.flags, interval: m.config.Interval, released: released}
}

// answer sends a heartbeat at once to who asks for one or accuses this node.
func (m *Machine) answer(name string) {
	if !m.turning || m.answered[name] {
		return
	}
	m.answered[name] = true
	m.beatSeq++
	m.out.Send = append(m.out.Send, Send{To: []string{name}, Payload: encodeBeat(m.beat(!slices.Contains(m.monitors, name)))})
}

// chooseMonitors chooses anew who judges this node, when those that could have changed.
func (m *Machine) chooseMonitors() {
	if !m.ringChanged {
		return
	}
	m.ringChanged = false
	var able []*peer
	for _, p := range m.members {
		if p.Gossip && p.verdict.State == Alive {
			able = append(able, p)
		}
	}
	before := m.monitors
	m.monitors = chooseMonitors(m.config.Node, m.world.Links, able)
	for _, name := range m.monitors {
		delete(m.released, name)
		if !slices.Contains(before, name) {
			m.beatAt = m.now
			m.wake(m.now)
		}
	}
	for _, name := range before {
		if m.peers[name] != nil && !slices.Contains(m.monitors, name) {
			m.released[name] = releases
		}
	}
}

// hearBeat takes in a heartbeat that came at a time.
func (m *Machine) hearBeat(p *peer, h beat, at time.Time) {
	w := p.watch
	if w == nil {
		if h.released {
			return
		}
		w = m.watchPeer(p)
	}
	if w.seq != 0 && h.seq <= w.seq {
		return
	}
	w.seq, w.interval, w.monitor = h.seq, h.interval, !h.released
	if h.released && !m.trouble[p] {
		m.unwatch(p)
		return
	}
	if at.After(w.beatAt) {
		w.beatAt = at
	}
	w.heard = true
	w.restarting = h.flags&Restarting != 0
	if m.now.Sub(w.beatAt) < suspectAfter(w.interval) {
		w.suspected, w.silent = false, w.restarting
		for _, lw := range w.links {
			if lw.dead {
				lw.hurry(m.now)
			}
			if lw.exam != nil && lw.exam.suspicion {
				lw.exam = nil
			}
			lw.arpSince = time.Time{}
		}
	}
}
