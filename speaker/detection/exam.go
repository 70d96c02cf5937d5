package detection

import "time"

// An exam asks a peer, on one link, by all methods and several times, and ends with the first answer that proves
// life, or with the last one missing.
type exam struct {
	start time.Time
	// rounds have been sent; ordered, missed and out count their probes: all, those that had time enough and were not
	// answered, and those of which nothing has been heard.
	rounds, ordered, missed, out int
	// resolved says that ARP or NDP was answered.
	resolved bool
	// suspicion is set when it is held because the peer is not heard.
	suspicion bool
}

type probeKind uint8

const (
	peaceProbe probeKind = iota
	examProbe
	controlProbe
)

// A probe is a question that was ordered.
type probe struct {
	target
	kind     probeKind
	own      string // the own link that it leaves by
	peer     *peer  // nil for a host
	link     *linkWatch
	exam     *exam
	at       time.Time
	deadline time.Time
}

// order has a question asked.
func (m *Machine) order(p *probe, wait time.Duration) {
	m.ids++
	p.at, p.deadline = m.now, m.now.Add(wait)
	m.probes[m.ids] = p
	o := ProbeOrder{ID: m.ids, Method: p.method, Interface: p.own, Target: p.addr, Port: p.port, Expect: p.expect, Deadline: p.deadline}
	if p.peer != nil {
		o.Peer = p.peer.Node
	}
	m.out.Probes = append(m.out.Probes, o)
}

// restartExam voids an exam that runs, and begins it anew.
func (lw *linkWatch) restartExam(m *Machine) {
	if lw.exam != nil {
		lw.exam = &exam{start: m.now, suspicion: lw.exam.suspicion}
	}
}

// startExam begins one, unless one runs.
func (m *Machine) startExam(p *peer, lw *linkWatch) {
	if lw.exam == nil {
		lw.exam = &exam{start: m.now, suspicion: p.watch.suspected}
		m.wake(m.now)
	}
}

// goOn does what is due on one link of a peer: the next round of an exam, the next exam, or a probe in peace.
func (m *Machine) goOn(p *peer, lw *linkWatch) {
	w := p.watch
	if e := lw.exam; e != nil && m.now.Sub(e.start) > examLength+examGuard {
		// Results are missing, or rounds were: this node is too slow to judge.
		lw.restartExam(m)
	}
	if lw.exam == nil && w.suspected && !lw.dead && !m.now.Before(lw.examAt) {
		m.startExam(p, lw)
	}
	if e := lw.exam; e != nil {
		for e.rounds < examRounds {
			due := e.start.Add(time.Duration(e.rounds) * examSpacing)
			if m.now.Before(due) {
				m.wake(due)
				break
			}
			m.round(p, lw, e)
		}
		m.endExam(p, lw)
		if lw.exam != nil {
			m.wake(e.start.Add(examLength + examGuard + time.Millisecond))
		}
		return
	}
	if w.suspected && !lw.dead {
		m.wake(lw.examAt)
		return
	}
	for i := range lw.asks {
		a := &lw.asks[i]
		if !m.probeBy.Before(a.at) {
			if a.at.Before(m.now) {
				a.at = m.now // what was early is next due as if it had not been
			}
			a.at = a.at.Add(m.peacePeriod(lw, a.method))
			m.order(&probe{peer: p, link: lw, own: lw.mine, target: a.target, kind: peaceProbe}, peaceWait)
		}
		m.wake(a.at)
	}
}

// peacePeriod is the time between two gentle probes by a method, with a little jitter.
func (m *Machine) peacePeriod(lw *linkWatch, method Method) time.Duration {
	d := peacePeriod
	families := 0
	for _, a := range lw.asks {
		if a.method == Echo4 || a.method == Echo6 {
			families++
		}
	}
	if families > 1 {
		d *= 2
	}
	if method == TCP {
		d = tcpPeriod
	}
	return m.jitter(d, 5)
}

// round sends one round of an exam. From the second on others are asked too, so that we know whether it is us.
func (m *Machine) round(p *peer, lw *linkWatch, e *exam) {
	e.rounds++
	wait := e.start.Add(examLength).Sub(m.now)
	for _, a := range lw.asks {
		for range max(1, (examCopies+len(lw.asks)-1)/len(lw.asks)) {
			m.order(&probe{peer: p, link: lw, own: lw.mine, target: a.target, kind: examProbe, exam: e}, wait)
			e.ordered++
			e.out++
		}
	}
	if e.rounds > 1 {
		m.askOthers(lw.mine, p, e.rounds, wait)
	}
}

// endExam ends one that has come to its end.
func (m *Machine) endExam(p *peer, lw *linkWatch) {
	e := lw.exam
	if e == nil || e.rounds < examRounds || e.out > 0 || m.now.Before(e.start.Add(examLength)) && e.ordered == 0 {
		return
	}
	w := p.watch
	lw.exam = nil
	lw.examAt = m.now.Add(examPause)
	if w.suspected && !m.now.Before(w.tiredAt) {
		lw.examAt = m.now.Add(examSlow)
	}
	var worked methods
	nonces := false
	for _, a := range lw.asks {
		if (a.calibrated(e.start) || lw.borrowed.has(a.method)) && (a.method.nonce() || !e.resolved) {
			worked = worked.with(a.method)
			nonces = nonces || a.method.nonce()
		}
	}
	switch {
	case e.resolved && nonces && w.suspected:
		// ARP alone answers: something else may do that in its name.
		if lw.arpSince.IsZero() {
			lw.arpSince = e.start
		}
		if m.now.Sub(lw.arpSince) < arpHold {
			m.wake(lw.examAt)
			return
		}
	case e.resolved:
		m.wake(lw.examAt)
		return
	case e.missed*examShareDen < e.ordered*examShareNum:
		lw.examAt = m.now // too many did not get their time
		m.wake(m.now)
		return
	case worked != 0:
	case !p.Gossip && w.suspected && m.now.Sub(p.lostAt) >= lostForGood:
		// No method ever worked, so silence proves little; but gossip has lost it as well.
	default:
		m.wake(lw.examAt)
		return
	}
	own := m.ownLink(lw.mine)
	if own.answered.Before(e.start) {
		if own.isolated.IsZero() {
			own.isolate(m, p.Node)
		}
		lw.examAt = m.now.Add(isolatedPause)
		m.wake(lw.examAt)
		return
	}
	lw.dead, lw.silenced = true, worked
	m.dirty[p] = true
}

// result takes in what became of a probe.
func (m *Machine) result(r ProbeResult) {
	p := m.probes[r.ID]
	if p == nil {
		return
	}
	delete(m.probes, r.ID)
	sent := r.Sent
	if sent.IsZero() || sent.Before(p.at) || sent.After(m.now) {
		sent = p.at
	}
	fit := r.Outcome == Answered && (p.expect == MAC{} || r.MAC == p.expect)
	if fit {
		m.ownLink(p.own).heard(m, sent)
	}
	if p.link == nil || p.peer.watch == nil || p.peer.watch.link(p.link) == nil {
		return
	}
	if fit {
		m.proven(p)
	}
	lw := p.link
	if p.exam != nil && p.exam == lw.exam {
		p.exam.out--
		if r.Outcome == Unanswered && p.deadline.Sub(sent) >= probeTime {
			p.exam.missed++
		}
		if r.Outcome == Answered && !fit {
			p.exam.missed++ // somebody else has the address
		}
		return
	}
	if p.kind != peaceProbe || r.Outcome == NotSent || fit || lw.dead || lw.exam != nil || p.deadline.Sub(sent) < probeTime {
		return
	}
	// A method that works was silent, in peace. Ask again, by all.
	for _, a := range lw.asks {
		if a.target == p.target && a.calibrated(p.at) && lw.proof.Before(p.at) {
			m.startExam(p.peer, lw)
		}
	}
}

// proven takes note that a peer has answered on a link.
func (m *Machine) proven(p *probe) {
	lw, w := p.link, p.peer.watch
	for i := range lw.asks {
		if lw.asks[i].target == p.target {
			lw.asks[i].okAt = m.now
		}
	}
	alone := !p.method.nonce() && w.suspected && lw.nonceUsedToWork(p.at)
	if lw.exam != nil && !p.method.nonce() {
		lw.exam.resolved = true
	}
	if alone && !lw.arpSince.IsZero() && m.now.Sub(lw.arpSince) >= arpHold {
		return // it has held out for long enough
	}
	if !alone {
		if lw.exam != nil {
			lw.exam = nil
			lw.examAt = m.now.Add(examPause)
			if w.suspected && !m.now.Before(w.tiredAt) {
				lw.examAt = m.now.Add(examSlow)
			}
		}
		lw.arpSince = time.Time{}
	}
	lw.proof = m.now
	if lw.dead {
		lw.dead, lw.silenced, lw.borrowed = false, 0, 0
		m.dirty[p.peer] = true
	}
}

// nonceUsedToWork reports whether there is a method with a nonce on the link whose silence would count.
func (lw *linkWatch) nonceUsedToWork(at time.Time) bool {
	if lw.silenced.has(Echo4) || lw.silenced.has(Echo6) || lw.silenced.has(TCP) {
		return true
	}
	for _, a := range lw.asks {
		if a.method.nonce() && (a.calibrated(at) || lw.borrowed.has(a.method)) {
			return true
		}
	}
	return false
}

// link returns lw if it is one of the watch's.
func (w *watch) link(lw *linkWatch) *linkWatch {
	for _, l := range w.links {
		if l == lw {
			return l
		}
	}
	return nil
}
