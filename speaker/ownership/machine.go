package ownership

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Defaults of Config.
const (
	DefaultStable   = time.Second
	DefaultLimit    = 3 * time.Second
	DefaultCourtesy = time.Second
)

// Config is what a Machine is made with.
type Config struct {
	// Self is this node's name.
	Self string
	// Stable is for how long the speakers heard must have stayed the same before a first claim.
	// Default 1 s.
	Stable time.Duration
	// Limit is how long after its view became whole a speaker serves in any case. Default 3 s.
	Limit time.Duration
	// Courtesy is for how long, after a cold start, a speaker leaves to others what falls to them although
	// they do not serve yet. Default 1 s.
	Courtesy time.Duration
}

// Input is what a speaker has seen since the last step.
type Input struct {
	// Whole is true once the API server's objects are in and gossip runs. Without it the speaker knows
	// nothing and does nothing. When it ceases to be true the speaker must settle anew.
	Whole bool
	// Session numbers the time that gossip has run without a break. In another one nobody has been heard yet,
	// so the speaker must settle anew, also if Whole was not seen to be false between them.
	Session uint64
	// Accounted is true when each speaker that should exist was heard, or tried in vain.
	Accounted bool
	// Members are the speakers heard now, in order of their names. When one comes or goes, a speaker that
	// is settling waits anew.
	Members []Member
	// Candidates are the units that changed, with all nodes that may answer for each. A unit without
	// candidates is owned by nobody and forgotten. A Machine keeps the lists; they must not change.
	Candidates map[Unit][]string
}

// A Member is a speaker that is heard.
type Member struct {
	Node string
	// Known is false until what it says of itself has come.
	Known bool
	// Serving is whether it says that it serves.
	Serving bool
}

// Output is what a step came to.
type Output struct {
	// Serving is whether this speaker claims what falls to it.
	Serving bool
	// Moves are the units whose owner is another than before the step, in order.
	Moves []Move
	// WakeAt is when to step again although nothing was seen; zero when there is no need.
	WakeAt time.Time
}

// A Move is a change of owner, as this node sees it; "" is nobody.
type Move struct {
	Unit     Unit
	From, To string
}

// A Machine holds what one speaker knows of ownership. It belongs to one goroutine.
type Machine struct {
	config Config

	session      uint64
	wholeSince   time.Time // zero until the view is whole
	members      []string
	stableSince  time.Time
	serving      bool
	servingSince time.Time

	known map[string]bool      // the other members that are Known
	serve map[string]time.Time // since when those of them serve; zero if since before they were Known

	units map[Unit]unitState
	owned map[Unit]struct{}
}

type unitState struct {
	candidates []string
	owner      string
}

// New returns a Machine that has seen nothing.
func New(c Config) *Machine {
	if c.Stable == 0 {
		c.Stable = DefaultStable
	}
	if c.Limit == 0 {
		c.Limit = DefaultLimit
	}
	if c.Courtesy == 0 {
		c.Courtesy = DefaultCourtesy
	}
	return &Machine{config: c, known: map[string]bool{}, serve: map[string]time.Time{},
		units: map[Unit]unitState{}, owned: map[Unit]struct{}{}}
}

// Step takes in what was seen and says what follows. Its cost goes with what changed.
func (m *Machine) Step(now time.Time, in Input) Output {
	ceased := false
	if in.Session != m.session || !in.Whole {
		ceased = m.unsettle()
		m.session = in.Session
	}
	m.hear(now, in.Members)
	began, wake := m.settle(now, in)
	if m.serving && m.Courtesy(now) {
		wake = m.servingSince.Add(m.config.Courtesy)
	}
	out := Output{Serving: m.serving, WakeAt: wake}
	for u, candidates := range in.Candidates {
		out.Moves = m.decide(out.Moves, u, candidates)
	}
	if began || ceased {
		for u, s := range m.units {
			out.Moves = m.decide(out.Moves, u, s.candidates)
		}
	}
	slices.SortFunc(out.Moves, func(a, b Move) int { return a.Unit.Compare(b.Unit) })
	return out
}

// unsettle forgets what was heard of the others, and reports whether this speaker served until now.
func (m *Machine) unsettle() (served bool) {
	served, m.serving = m.serving, false
	m.wholeSince, m.stableSince, m.servingSince = time.Time{}, time.Time{}, time.Time{}
	clear(m.known)
	clear(m.serve)
	return served
}

// settle decides whether this speaker serves. It reports whether it began to in this step, and when to
// look again.
func (m *Machine) settle(now time.Time, in Input) (began bool, wake time.Time) {
	if m.serving || !in.Whole {
		return false, time.Time{}
	}
	if m.wholeSince.IsZero() {
		m.wholeSince = now
	}
	if same := slices.EqualFunc(m.members, in.Members, func(name string, n Member) bool { return name == n.Node }); !same || m.stableSince.IsZero() {
		m.members, m.stableSince = nil, now
		for _, n := range in.Members {
			m.members = append(m.members, n.Node)
		}
	}
	due := m.wholeSince.Add(m.config.Limit)
	if stable := m.stableSince.Add(m.config.Stable); in.Accounted && stable.Before(due) {
		due = stable
	}
	if now.Before(due) {
		return false, due
	}
	m.serving, m.servingSince = true, now
	return true, time.Time{}
}

// hear notes which of the others serve, and since when.
func (m *Machine) hear(now time.Time, members []Member) {
	known, serve := map[string]bool{}, map[string]time.Time{}
	for _, n := range members {
		if n.Node == m.config.Self || !n.Known {
			continue
		}
		known[n.Node] = true
		if !n.Serving {
			continue
		}
		since, served := m.serve[n.Node]
		if !served && m.known[n.Node] {
			since = now
		}
		serve[n.Node] = since
	}
	m.known, m.serve = known, serve
}

// Courtesy reports whether speakers that do not serve yet are to be counted as candidates too. It is so in a
// cold start, when this speaker and others come to serve at about the same time: otherwise each
// of them would claim everything, until it hears a moment later that the others serve. It is not so where
// another one has served for a while, for that one ceases to answer as soon as this speaker says that it
// serves, and then nobody would.
func (m *Machine) Courtesy(now time.Time) bool {
	for _, since := range m.serve {
		if now.Sub(since) >= m.config.Courtesy {
			return false
		}
	}
	return !m.serving || now.Sub(m.servingSince) < m.config.Courtesy
}

// decide sets the owner of u and appends the move that this is, if it is one.
func (m *Machine) decide(moves []Move, u Unit, candidates []string) []Move {
	before := m.units[u].owner
	owner := Owner(u, m.eligible(candidates))
	if len(candidates) == 0 {
		delete(m.units, u)
	} else {
		m.units[u] = unitState{candidates: candidates, owner: owner}
	}
	if owner == before {
		return moves
	}
	delete(m.owned, u)
	if owner == m.config.Self {
		m.owned[u] = struct{}{}
	}
	return append(moves, Move{Unit: u, From: before, To: owner})
}

// eligible leaves this node out of the candidates while it does not serve.
func (m *Machine) eligible(candidates []string) []string {
	i := slices.Index(candidates, m.config.Self)
	if m.serving || i < 0 {
		return candidates
	}
	return slices.Concat(candidates[:i], candidates[i+1:])
}

// Serving reports whether this speaker claims what falls to it.
func (m *Machine) Serving() bool { return m.serving }

// Owner returns who owns u as this node sees it, "" for nobody.
func (m *Machine) Owner(u Unit) string { return m.units[u].owner }

// Owned returns the units that this node owns, in no order.
func (m *Machine) Owned() iter.Seq[Unit] { return maps.Keys(m.owned) }

// OwnedCount returns how many units this node owns.
func (m *Machine) OwnedCount() int { return len(m.owned) }
