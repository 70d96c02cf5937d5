package detection

import "time"

// A Machine holds what one speaker knows of the others' life. It belongs to one goroutine.
type Machine struct {
	config Config
	world  *World
}

// New returns a Machine that has seen nothing.
func New(c Config) *Machine {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	c.Interval = min(max(c.Interval, MinInterval), MaxInterval)
	return &Machine{config: c, world: &World{}}
}

// Step takes in what was seen until now and returns what to do.
func (m *Machine) Step(now time.Time, in Input) Output {
	if in.World != nil {
		m.world = in.World
	}
	return Output{WakeAt: now.Add(m.config.Interval)}
}

// Verdicts returns what is known of every member, in order of their nodes: what the machine that owns addresses
// starts from. Changes are in each step's Output.
func (m *Machine) Verdicts() []Verdict { return nil }

// Monitors returns the nodes that this one sends its heartbeats to, in order.
func (m *Machine) Monitors() []string { return nil }
