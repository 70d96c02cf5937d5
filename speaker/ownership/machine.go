package ownership

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Defaults of Config.
const (
	DefaultStable = time.Second
	DefaultLimit  = 3 * time.Second
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
}

// Input is what a speaker has seen since the last step.
type Input struct {
	// Whole is true once the API server's objects are in and gossip runs. Without it the speaker knows
	// nothing and does nothing.
	Whole bool
	// Accounted is true when each speaker that should exist was heard, or tried in vain.
	Accounted bool
	// Members are the speakers heard now, this one among them, in order. A change makes a speaker
	// that is settling wait anew.
	Members []string
	// Candidates are the units that changed, with all nodes that may answer for each. A unit without
	// candidates is owned by nobody and forgotten. A Machine keeps the lists; they must not change.
	Candidates map[Unit][]string
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

	wholeSince  time.Time // zero until the view is whole
	members     []string
	stableSince time.Time
	serving     bool

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
	return &Machine{config: c, units: map[Unit]unitState{}, owned: map[Unit]struct{}{}}
}

// Step takes in what was seen and says what follows. Steps are cheap: their cost goes with what changed.
func (m *Machine) Step(now time.Time, in Input) Output {
	began, wake := m.settle(now, in)
	out := Output{Serving: m.serving, WakeAt: wake}
	for u, candidates := range in.Candidates {
		out.Moves = m.decide(out.Moves, u, candidates)
	}
	if began {
		for u, s := range m.units {
			out.Moves = m.decide(out.Moves, u, s.candidates)
		}
	}
	slices.SortFunc(out.Moves, func(a, b Move) int { return a.Unit.Compare(b.Unit) })
	return out
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
	if m.stableSince.IsZero() || !slices.Equal(m.members, in.Members) {
		m.members, m.stableSince = slices.Clone(in.Members), now
	}
	due := m.wholeSince.Add(m.config.Limit)
	if stable := m.stableSince.Add(m.config.Stable); in.Accounted && stable.Before(due) {
		due = stable
	}
	if now.Before(due) {
		return false, due
	}
	m.serving = true
	return true, time.Time{}
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
