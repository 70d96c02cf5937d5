package detection

import (
	"slices"
	"time"
)

// A watch is how this node looks at a peer: as one of its monitors, whom it sends heartbeats, or as a substitute, because
// somebody has accused it and too few have looked.
type watch struct {
	links []*linkWatch

	monitor    bool
	seq        uint64
	interval   time.Duration
	heard      bool      // a heartbeat, ever
	beatAt     time.Time // of the last heartbeat, or when the watch began
	restarting bool

	suspected   bool // it is being examined, because it is not heard
	suspectedAt time.Time
	silent      bool // it is not heard, and that is sure
	// trustAt is until when silence is not believed, because this node's own timer was late.
	trustAt time.Time
	pingAt  time.Time
	tiredAt time.Time // when it had been silent for so long that it is looked at less often

	cleanAt time.Time // since when there is no reason to watch
}

// A linkWatch is one way to a peer.
type linkWatch struct {
	pairing
	asks []ask
	// proof is when something last answered.
	proof time.Time
	// dead is set when an exam found it so, and cleared by any answer; silenced are the methods that used to work.
	dead     bool
	silenced methods
	// borrowed are methods that work for somebody else who accuses the link.
	borrowed methods
	// arpSince is since when, of a peer that is not heard, only ARP or NDP answers, though others used to.
	arpSince time.Time
	exam     *exam
	examAt   time.Time // when to hold the next one, while the peer is not heard
}

// An ask is a target and how well it works.
type ask struct {
	target
	okAt time.Time // when it last worked
	at   time.Time // when to try it next, in peace
}

func (a ask) calibrated(at time.Time) bool { return !a.okAt.IsZero() && at.Sub(a.okAt) < lately }

// watchPeer begins to look at a peer.
func (m *Machine) watchPeer(p *peer) *watch {
	p.watch = &watch{}
	m.watchAnew(p)
	m.pairUp(p)
	m.watched[p] = true
	return p.watch
}

// watchAnew begins as if nothing had been seen.
func (m *Machine) watchAnew(p *peer) {
	w := p.watch
	*w = watch{beatAt: m.now, interval: m.config.Interval, links: w.links, monitor: w.monitor, seq: w.seq}
	for _, lw := range w.links {
		*lw = linkWatch{pairing: lw.pairing, asks: lw.asks}
		for i := range lw.asks {
			lw.asks[i].okAt = time.Time{}
			lw.asks[i].at = m.now.Add(m.spread(p, lw.asks[i].method, peaceStart))
		}
	}
}

// pairUp finds the ways to a peer anew and keeps what is known of those that stay.
func (m *Machine) pairUp(p *peer) {
	w := p.watch
	before := w.links
	w.links = nil
	for _, pr := range pair(m.world.Links, p.Member) {
		lw := &linkWatch{}
		if i := slices.IndexFunc(before, func(o *linkWatch) bool { return o.mine == pr.mine && o.theirs == pr.theirs }); i >= 0 {
			lw = before[i]
		}
		if lw.asks == nil || !slices.Equal(lw.targets, pr.targets) {
			asks := make([]ask, len(pr.targets))
			for i, t := range pr.targets {
				asks[i] = ask{target: t, at: m.now.Add(m.spread(p, t.method, peaceStart))}
				if j := slices.IndexFunc(lw.asks, func(a ask) bool { return a.target == t }); j >= 0 {
					asks[i] = lw.asks[j]
				}
			}
			lw.asks, lw.exam = asks, nil
		}
		lw.pairing = pr
		w.links = append(w.links, lw)
	}
}

// hurry has a link asked soon, by all methods.
func (lw *linkWatch) hurry(now time.Time) {
	for i := range lw.asks {
		if at := now.Add(peaceWait); at.Before(lw.asks[i].at) {
			lw.asks[i].at = at
		}
	}
}

// spread is a time within d that is another one for each pair of nodes and each method.
func (m *Machine) spread(p *peer, method Method, d time.Duration) time.Duration {
	return time.Duration(hash(m.config.Node, p.Node, method.String()) % uint64(d))
}

// blind reports whether this node can't tell whether p is heard, for its own link to it is cut.
func (m *Machine) blind(p *peer) bool {
	up := false
	for _, l := range m.world.Links {
		works := l.Up && !m.isolated(l.Name)
		up = up || works
		if !works {
			for _, a := range l.Addresses {
				if a.Masked().Contains(p.Addr.Addr()) {
					return true
				}
			}
		}
	}
	return m.isolated("") || !up && len(m.world.Links) > 0
}

// look does what is due for a peer that is watched.
func (m *Machine) look(p *peer) {
	w := p.watch
	quiet := m.now.Sub(w.beatAt)
	if w.monitor || w.heard {
		after := suspectAfter(w.interval)
		if !w.monitor {
			after = max(after, pause) // it hears this node only when asked
		}
		if quiet < after {
			m.wake(w.beatAt.Add(after))
		} else if !w.suspected {
			m.suspect(p)
		}
	} else if !w.suspected {
		m.suspect(p) // a substitute begins with an exam
	}
	for _, lw := range w.links {
		m.goOn(p, lw)
	}
	m.decideSilent(p)
	m.publish(p)
}

// suspect begins to examine a peer on all its links.
func (m *Machine) suspect(p *peer) {
	w := p.watch
	w.suspected, w.suspectedAt, w.tiredAt, w.pingAt = true, m.now, m.now.Add(examTired), m.now
	for _, lw := range w.links {
		lw.arpSince = time.Time{}
		if !lw.dead {
			m.startExam(p, lw)
		}
	}
}

// decideSilent comes to a conclusion on whether a suspect's speaker is heard.
func (m *Machine) decideSilent(p *peer) {
	w := p.watch
	if !w.suspected {
		return
	}
	// The speaker itself is asked too: a heartbeat that was lost is said again, and one that does not count
	// this node among its monitors is heard when it is back.
	if !m.now.Before(w.pingAt) {
		m.out.Send = append(m.out.Send, Send{To: []string{p.Node}, Payload: encodePing()})
		w.pingAt = m.now.Add(examSpacing)
		if m.now.Sub(w.suspectedAt) > pause {
			w.pingAt = m.now.Add(pingPause)
		}
	}
	m.wake(w.pingAt)
	if w.silent || m.blind(p) {
		return
	}
	if m.now.Before(w.trustAt) {
		m.wake(w.trustAt)
		return
	}
	dead := 0
	for _, lw := range w.links {
		if lw.dead {
			dead++
		}
	}
	at := w.suspectedAt.Add(silentAfter(w.interval) - suspectAfter(w.interval))
	switch {
	case dead > 0 && dead == len(w.links), !m.now.Before(at):
		w.silent = true
		m.dirty[p] = true
	default:
		m.wake(at)
	}
}

// opinion is what this node has to say of a peer that it watches.
func (m *Machine) opinion(p *peer) vote {
	w := p.watch
	v := vote{subject: p.Node, life: p.life, heard: w.heard, quiet: m.now.Sub(w.beatAt)}
	switch {
	case w.silent && !m.blind(p):
		v.speaking = no
		v.restarting = w.restarting
	case w.heard && !w.silent && !(w.suspected && w.monitor):
		v.speaking = yes
	}
	for _, lw := range w.links {
		l := linkVote{name: lw.theirs}
		switch {
		case m.isolated(lw.mine):
		case lw.dead:
			l.alive, l.methods = no, lw.silenced
		case !lw.proof.IsZero() && m.now.Sub(lw.proof) < fresh && (p.accusedAt.IsZero() || !lw.proof.Before(p.accusedAt.Add(-examLength))):
			l.alive = yes
		}
		if l.alive == unknown {
			continue
		}
		// Of several ways to one link, one that works is enough.
		if i := slices.IndexFunc(v.links, func(o linkVote) bool { return o.name == l.name }); i >= 0 {
			if l.alive == yes {
				v.links[i] = l
			}
			continue
		}
		v.links = append(v.links, l)
	}
	return v
}

// tend looks after a peer of whom something bad is known: that at least two who can see look at it, and that it is
// left alone when it is well again.
func (m *Machine) tend(p *peer) {
	if !p.judgeAt.IsZero() {
		if !m.now.Before(p.judgeAt) {
			p.judgeAt = time.Time{}
			m.dirty[p] = true
		} else {
			m.wake(p.judgeAt)
		}
	}
	voters, accusing, contradicting := 0, false, false
	var accusedLinks methodsOf
	m.ballot(p, func(_ string, v vote) {
		if v.speaking != unknown || len(v.links) > 0 {
			voters++
		}
		accusing = accusing || v.accuses()
		contradicting = contradicting || v.speaking == yes
		for _, l := range v.links {
			if l.alive == no {
				accusedLinks.add(l.name, l.methods)
			}
		}
	})
	bad := p.verdict.State != Alive || len(p.verdict.DeadLinks) > 0
	if !accusing && !bad && p.Gossip && !p.said {
		m.wellAgain(p)
		return
	}
	if p.watch != nil {
		p.watch.cleanAt = time.Time{}
		for _, lw := range p.watch.links {
			lw.borrowed |= accusedLinks.of(lw.theirs)
		}
		return
	}
	var since time.Time
	switch {
	case accusing && voters < quorum:
		since = p.accusedAt.Add(substituteAfter)
		if p.accusedAt.IsZero() {
			since = m.now.Add(substituteAfter)
		}
	case accusing && !bad && !contradicting && !p.accusedAt.IsZero():
		since = p.accusedAt.Add(substituteAfter + substituteStep) // two have voted, and it is not enough
	case bad && voters < quorum:
		since = p.verdict.Since.Add(substituteStep)
	case !p.Gossip && voters < quorum:
		since = p.lostAt.Add(lostAfter)
	default:
		return
	}
	if m.now.Before(since) {
		m.wake(since)
		return
	}
	rank := m.rank(p)
	if at := since.Add(time.Duration(rank/quorum) * substituteStep); m.now.Before(at) {
		m.wake(at)
		return
	}
	m.watchPeer(p)
	for _, lw := range p.watch.links {
		lw.borrowed = accusedLinks.of(lw.theirs)
	}
	m.look(p)
}

// wellAgain ends what was due to an accusation.
func (m *Machine) wellAgain(p *peer) {
	w := p.watch
	if w == nil || w.monitor {
		delete(m.trouble, p)
		return
	}
	if w.cleanAt.IsZero() {
		w.cleanAt = m.now
	}
	if at := w.cleanAt.Add(watchAfter); m.now.Before(at) {
		m.wake(at)
		return
	}
	m.unwatch(p)
	delete(m.trouble, p)
}

// unwatch looks away.
func (m *Machine) unwatch(p *peer) {
	p.watch, p.mine, p.said = nil, vote{}, false
	delete(m.watched, p)
	m.dirty[p] = true
}

// rank is this node's place among those that could look at a peer and have not.
func (m *Machine) rank(p *peer) int {
	mine, rank := hash(p.Node, m.config.Node), 0
	for _, e := range m.members {
		if _, voted := p.votes[e.Node]; e != p && !voted && e.living() && hash(p.Node, e.Node) < mine {
			rank++
		}
	}
	return rank
}

// methodsOf are the methods that work for others, by link.
type methodsOf []linkVote

func (s *methodsOf) add(name string, ms methods) { *s = append(*s, linkVote{name: name, methods: ms}) }

func (s methodsOf) of(name string) (ms methods) {
	for _, l := range s {
		if l.name == name {
			ms |= l.methods
		}
	}
	return ms
}
