package ownership

import (
	"iter"
	"maps"
	"time"
)

// A Machine holds what one speaker knows of ownership. It belongs to one goroutine.
type Machine struct {
	config Config
	owned  map[Unit]struct{}
}

// New returns a Machine that has seen nothing.
func New(c Config) *Machine {
	return &Machine{config: c, owned: map[Unit]struct{}{}}
}

// Step takes in what was seen and says what follows. Its cost goes with what changed.
func (m *Machine) Step(now time.Time, in Input) Output { return Output{} }

// Serving reports whether this speaker answers for what it owns and may be counted on.
func (m *Machine) Serving() bool { return false }

// Settled reports whether this speaker claims what falls to it.
func (m *Machine) Settled() bool { return false }

// Owner returns who owns u as this node sees it, "" for nobody.
func (m *Machine) Owner(u Unit) string { return "" }

// Deputies returns who takes u when its owner is lost, in order; at most two.
func (m *Machine) Deputies(u Unit) []string { return nil }

// Answer returns how this node answers for u.
func (m *Machine) Answer(u Unit) Answer { return Answer{} }

// Owned returns the units that this node owns, in no order.
func (m *Machine) Owned() iter.Seq[Unit] { return maps.Keys(m.owned) }

// OwnedCount returns how many units this node owns.
func (m *Machine) OwnedCount() int { return len(m.owned) }

// Explain says in words who owns u, since when and why, and who would take it.
func (m *Machine) Explain(u Unit) string { return "" }
