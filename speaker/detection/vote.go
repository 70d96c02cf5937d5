package detection

import (
	"slices"
	"strings"
	"time"
)

// A ternary is yes, no, or nothing known. The values are on the wire.
type ternary uint8

const (
	unknown ternary = iota
	yes
	no
)

// methods is a set of them.
type methods uint8

const allMethods = methods(1<<(methodEnd-1) - 1)

func (s methods) has(m Method) bool     { return s&(1<<(m-1)) != 0 }
func (s methods) with(m Method) methods { return s | 1<<(m-1) }
func (s methods) names() (names []string) {
	for m := ARP; m < methodEnd; m++ {
		if s.has(m) {
			names = append(names, m.String())
		}
	}
	return names
}

// A vote is what one node says of another.
type vote struct {
	subject string
	// life is the subject's that it is about.
	life uint64
	// seq orders the votes of one life of a voter.
	seq uint64
	// speaking is whether heartbeats come, heard whether one ever came, and quiet for how long none came.
	speaking   ternary
	heard      bool
	quiet      time.Duration
	restarting bool
	links      []linkVote

	voterLife uint64
	at        time.Time // when it came
}

// A linkVote is what a voter sees of one link of its subject.
type linkVote struct {
	name  string
	alive ternary
	// methods are those that used to work there: what is silent, when the link is dead.
	methods methods
}

// accuses reports whether v says anything bad.
func (v vote) accuses() bool {
	return v.speaking == no || slices.ContainsFunc(v.links, func(l linkVote) bool { return l.alive == no })
}

// same reports whether v and o say the same, apart from what changes with each moment.
func (v vote) same(o vote) bool {
	return v.life == o.life && v.speaking == o.speaking && v.restarting == o.restarting &&
		slices.EqualFunc(v.links, o.links, func(a, b linkVote) bool { return a.name == b.name && a.alive == b.alive })
}

// counts reports whether what p has voted counts: whoever has lost it otherwise, its vote has come. It does not hang on
// verdicts, so that verdicts can't hang on each other in a circle. One that was on the other side of a split a
// moment ago may still say what was true there; not when it says that it hears its subject no more, and has heard it since it is back.
// The dead links in such a vote count too, or a node that is lost now would be found dead only once its witness is back for long. They
// are of now as well: whoever hears a subject asks soon again for its links that were dead (see hurry), and has had as long for
// an answer as the subject has been silent for.
func (m *Machine) counts(p *peer, v vote) bool {
	return p.Gossip && p.mine.speaking != no &&
		(m.now.Sub(p.foundAt) >= newcomer || v.speaking == no && v.heard && v.at.Add(-v.quiet).After(p.foundAt))
}

// living reports whether a vote of p's is worth waiting for.
func (p *peer) living() bool { return p.Gossip && p.mine.speaking != no && p.verdict.State == Alive }

// hearVote takes in what another says of a third, or of this node.
func (m *Machine) hearVote(from *peer, v vote, at time.Time) {
	if v.subject == m.config.Node {
		if v.life == m.config.Life && v.accuses() {
			m.answer(from.Node)
		}
		return
	}
	p := m.peers[v.subject]
	if p == nil || v.life != p.life || v.subject == from.Node {
		return
	}
	v.voterLife, v.at = from.life, at
	if old, ok := p.votes[from.Node]; ok && old.voterLife == v.voterLife && old.seq > v.seq {
		return
	}
	if p.votes == nil {
		p.votes = map[string]vote{}
	}
	old := p.votes[from.Node]
	p.votes[from.Node] = v
	m.dirty[p] = true
	m.trouble[p] = true
	if v.accuses() && (!old.same(v) || !old.accuses()) && p.watch != nil {
		m.confirm(p, v)
	}
}

// confirm looks for itself at what another accuses a peer of, which this node watches too.
func (m *Machine) confirm(p *peer, v vote) {
	for _, lw := range p.watch.links {
		for _, l := range v.links {
			if l.name == lw.theirs && l.alive == no {
				lw.borrowed |= l.methods
				if !lw.dead && lw.exam == nil && m.now.Sub(lw.proof) > examLength {
					m.startExam(p, lw)
				}
			}
		}
	}
}

// ballot calls do for every vote on p that counts now, this node's own first.
func (m *Machine) ballot(p *peer, do func(voter string, v vote)) {
	if p.watch != nil {
		do(m.config.Node, p.mine)
	}
	for voter, v := range p.votes {
		e := m.peers[voter]
		if e == nil || e.life != v.voterLife || v.life != p.life || m.now.Sub(v.at) > voteExpiry ||
			v.at.Before(e.foundAt.Add(-newcomer/2)) { // while gossip had lost it, it could not take anything back
			delete(p.votes, voter)
			continue
		}
		if !v.accuses() && v.at.Before(p.accusedAt.Add(-examLength)) {
			// It was said before this accusation: whoever still looks says it again (see publish), and many don't.
			at := p.accusedAt.Add(defendFor)
			if !m.now.Before(at) {
				continue
			}
			if p.judgeAt.IsZero() || at.Before(p.judgeAt) {
				p.judgeAt = at
				m.wake(at)
			}
		}
		if m.counts(e, v) {
			do(voter, v)
		} else if at := e.foundAt.Add(newcomer); at.After(m.now) && (p.judgeAt.IsZero() || at.Before(p.judgeAt)) {
			p.judgeAt = at
			m.wake(at)
		}
	}
}

// needed is how many must agree on p, or on one of its links.
func (m *Machine) needed(p *peer, link *Link) int {
	n := 0
	sees := func(own []Link, cut func(string) bool) bool {
		return link == nil || slices.ContainsFunc(own, func(l Link) bool { return l.Up && share(l, *link) && !cut(l.Name) })
	}
	if sees(m.world.Links, m.isolated) && (link != nil || !m.blind(p)) {
		n++
	}
	for _, e := range m.members {
		if n >= quorum {
			break
		}
		if e != p && e.living() && sees(e.Links, func(string) bool { return false }) {
			n++
		}
	}
	if at, ok := p.abandonedAt(); ok && !m.now.Before(at) {
		n = min(n, 1)
	}
	return min(n, quorum)
}

// abandonedAt is when one accuser becomes enough for p, if nobody defends it, and whether it ever does: gossip must have lost it as well. Those
// that are too starved to hold exams can't accuse, but would have heard a sign of life.
func (p *peer) abandonedAt() (at time.Time, ok bool) {
	if p.Gossip || p.accusedAt.IsZero() {
		return time.Time{}, false
	}
	at = p.accusedAt.Add(aloneAfter)
	if lost := p.lostAt.Add(lostForGood); lost.After(at) {
		at = lost
	}
	return at, true
}

// A tally counts the votes on one thing.
type tally struct {
	good, bad int
	methods   methods
}

// carried reports whether the bad ones have it.
func (t tally) carried(needed int) bool { return needed > 0 && t.bad >= needed && t.bad > t.good }

// accused takes note of since when p is accused.
func (m *Machine) accused(p *peer) {
	accused := false
	m.ballot(p, func(_ string, v vote) { accused = accused || v.accuses() })
	if !accused {
		p.accusedAt = time.Time{}
	} else if p.accusedAt.IsZero() {
		p.accusedAt = m.now
		m.out.Suspected++
		m.wake(m.now) // to say what this node has seen itself
	}
	if at, ok := p.abandonedAt(); ok && at.After(m.now) && (p.judgeAt.IsZero() || at.Before(p.judgeAt)) {
		p.judgeAt = at
		m.wake(at)
	}
}

// judge comes to a verdict on p.
func (m *Machine) judge(p *peer) {
	m.accused(p)
	var speaking tally
	links := map[string]tally{}
	next := Verdict{Node: p.Node, Life: p.life, State: p.verdict.State, Since: p.verdict.Since, Quiet: p.verdict.Quiet}
	var accusers []string
	var quiet time.Duration
	m.ballot(p, func(voter string, v vote) {
		switch v.speaking {
		case yes:
			speaking.good++
		case no:
			speaking.bad++
			quiet = max(quiet, v.quiet)
			next.Restarting = next.Restarting || v.restarting
		}
		for _, l := range v.links {
			t := links[l.name]
			switch l.alive {
			case yes:
				t.good++
			case no:
				t.bad++
				t.methods |= l.methods
			}
			links[l.name] = t
		}
		if v.accuses() {
			accusers = append(accusers, voter)
		}
	})
	// What was found dead stays so until somebody sees it alive, also if its witnesses are gone.
	for _, name := range p.verdict.DeadLinks {
		if t := links[name]; (t.good == 0 || t.bad > t.good) && (name == "" || p.link(name) != nil) {
			next.DeadLinks = append(next.DeadLinks, name)
		}
	}
	anyAlive, undecided := false, false
	for name, t := range links {
		switch {
		case slices.Contains(next.DeadLinks, name):
		case t.carried(m.needed(p, p.link(name))):
			next.DeadLinks = append(next.DeadLinks, name)
		case t.good > 0:
			anyAlive = true
		case t.bad > 0:
			undecided = true
		}
	}
	slices.Sort(next.DeadLinks)

	silent := speaking.carried(m.needed(p, nil)) || p.verdict.State != Alive && speaking.good == 0
	switch {
	case !silent:
		next.State = Alive
	case anyAlive:
		next.State = Silent
	case p.verdict.State == Dead:
	case undecided && p.verdict.State == Alive && m.now.Sub(p.accusedAt) < pending:
		p.judgeAt = p.accusedAt.Add(pending)
		m.wake(p.judgeAt)
	case undecided || len(next.DeadLinks) == 0:
		next.State = Silent
	default:
		next.State = Dead
	}
	if next.State == Alive {
		next.Restarting = false
	}
	// "" is what stands for a peer behind a router; it is no link of anybody's.
	next.DeadLinks = slices.DeleteFunc(next.DeadLinks, func(name string) bool { return name == "" && next.State != Dead })

	if next.same(p.verdict) {
		return
	}
	slices.Sort(accusers)
	next.Witnesses = witnesses(next, quiet, links, accusers)
	if next.State != p.verdict.State {
		next.Since, next.Quiet = m.now, quiet
		m.ringChanged = true
		for q := range m.trouble { // fewer are left to wait for
			m.dirty[q] = true
		}
	}
	p.verdict = next
	m.changed[p] = true
	m.trouble[p] = true
}

// witnesses says in words what a verdict rests on.
func witnesses(v Verdict, quiet time.Duration, links map[string]tally, accusers []string) string {
	var said []string
	switch {
	case v.Restarting:
		said = append(said, "the speaker said that it restarts")
	case v.State != Alive && quiet > 0:
		said = append(said, "no heartbeat for "+quiet.Round(time.Millisecond).String())
	case v.State != Alive:
		said = append(said, "no heartbeat")
	case len(v.DeadLinks) == 0:
		return "heartbeats come and every link that is watched answers"
	}
	for _, name := range v.DeadLinks {
		on := ""
		if name != "" {
			on = " on " + name
		}
		what := "nothing answers" + on
		if asked := links[name].methods.names(); len(asked) > 0 {
			what = list(asked) + on + " unanswered"
		}
		said = append(said, what)
	}
	if v.State == Silent {
		said = append(said, "the kernel answers")
	}
	words := strings.Join(said, "; ")
	if len(accusers) > 0 {
		words += " (seen by " + list(accusers) + ")"
	}
	return words
}

// publish says this node's vote on a peer that it watches, if there is anything to say.
func (m *Machine) publish(p *peer) {
	v := m.opinion(p)
	contested := v.accuses() || p.verdict.State != Alive || len(p.verdict.DeadLinks) > 0 || !p.accusedAt.IsZero()
	if !v.same(p.mine) {
		if v.accuses() != p.mine.accuses() || contested {
			m.dirty[p] = true
			m.trouble[p] = true
		}
	}
	switch {
	case !contested && !p.said:
	case !p.said || !v.same(p.mine) || !v.accuses() && p.saidAt.Before(p.accusedAt):
		m.voteSeq++
		v.seq = m.voteSeq
		p.said, p.repeats, p.sayAt, p.saidAt = true, 0, m.now, m.now
	default:
		v.seq = p.mine.seq
	}
	p.mine = v
	if !p.said {
		return
	}
	if !m.now.Before(p.sayAt) {
		m.votes = append(m.votes, v)
		if !p.Gossip {
			m.votesTo[p.Node] = append(m.votesTo[p.Node], v)
		}
		if p.repeats < len(voteRepeats) {
			p.sayAt = later(m.now, p.saidAt.Add(voteRepeats[p.repeats]))
		} else {
			p.sayAt = m.now.Add(voteRefresh)
			if !contested {
				p.said = false
			}
		}
		p.repeats++
	}
	if p.said {
		m.wake(p.sayAt)
	}
}

// later returns at, or a moment after now if it is over.
func later(now, at time.Time) time.Time {
	if at.After(now) {
		return at
	}
	return now.Add(5 * time.Millisecond)
}

// sendVotes sends what publish has collected, and to members that are new what is still true.
func (m *Machine) sendVotes() {
	for _, b := range encodeVotes(m.votes) {
		m.out.Send = append(m.out.Send, Send{To: m.everyone, Payload: b})
	}
	m.votes = m.votes[:0]
	for _, p := range m.newcomers {
		var standing []vote
		for q := range m.trouble {
			if q.watch != nil && q.said && q.mine.accuses() {
				standing = append(standing, q.mine)
			}
		}
		slices.SortFunc(standing, func(a, b vote) int { return strings.Compare(a.subject, b.subject) })
		m.votesTo[p.Node] = append(m.votesTo[p.Node], standing...)
	}
	m.newcomers = nil
	for _, name := range sortedKeys(m.votesTo) {
		for _, b := range encodeVotes(m.votesTo[name]) {
			m.out.Send = append(m.out.Send, Send{To: []string{name}, Payload: b})
		}
		delete(m.votesTo, name)
	}
}
