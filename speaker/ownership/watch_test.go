package ownership

import (
	"fmt"
	"slices"
	"strings"
)

// What the wire shows.

// answers returns how h answers for u; a claim that is still being looked into is no answer.
func (h *host) answers(u Unit) Answer {
	s := h.speaker
	if !h.up || s == nil || s.paused || s.mute {
		return Answer{}
	}
	a := s.answers[u]
	if a.Claim {
		return Answer{}
	}
	return a
}

// answering returns who answers for u with its own MAC, and whether anybody on the given side answers at all.
func (w *world) answering(u Unit, side int) (owners []string, any bool) {
	for _, h := range w.hosts {
		if h.wire != side {
			continue
		}
		switch a := h.answers(u); a.As {
		case Own:
			owners = append(owners, h.name)
			any = true
		case StandIn:
			any = any || w.host(a.For).up && w.host(a.For).wire == side
		}
	}
	return owners, any
}

// watch keeps account of how long units are not answered.
func (w *world) watch() {
	if !w.watching {
		return
	}
	for _, u := range w.units {
		owners, any := w.answering(u, 0)
		if len(owners) > 1 {
			w.dups++
		}
		since, silent := w.since[u]
		switch {
		case any && silent:
			if gap := w.now - since; gap > w.gap[u] {
				w.gap[u] = gap
				if gap > w.worst {
					w.worst, w.worstOf = gap, u
				}
			}
			delete(w.since, u)
		case !any && !silent:
			w.since[u] = w.now
		}
	}
}

// faults returns what is wrong with the world at rest.
func (w *world) faults() []string {
	var faults []string
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, u := range w.units {
		var able, owners, deputies []string
		for _, h := range w.hosts {
			may := slices.ContainsFunc(w.may[u].Candidates, func(c Candidate) bool { return c.Node == h.name })
			if may && h.speaker != nil && !h.leaving {
				able = append(able, h.name)
			}
			switch h.answers(u).As {
			case Own:
				owners = append(owners, h.name)
			case StandIn:
				deputies = append(deputies, h.name)
			}
		}
		// A node that leaves goes on where nobody else can.
		want := min(len(able), 1)
		if w.foreign[u] {
			want = 0
		}
		if len(owners) != want && !(want == 0 && !w.foreign[u] && len(owners) == 1 && w.host(owners[0]).leaving) {
			say("%v is answered by %q, able are %q", u, owners, able)
		}
		for _, d := range deputies {
			if owner := w.host(w.host(d).answers(u).For); owner.speaker != nil || !owner.up {
				say("%s stands in for %s at %v", d, owner.name, u)
			}
		}
		for _, h := range w.hosts {
			if h.speaker != nil && len(owners) == 1 && h.speaker.machine.Owner(u) != owners[0] {
				say("%v is answered by %q, %s thinks by %q: %s", u, owners, h.name, h.speaker.machine.Owner(u), h.speaker.machine.Explain(u))
			}
		}
	}
	for _, h := range w.hosts {
		if s := h.speaker; s != nil {
			if !s.serving {
				say("%s does not serve", h.name)
			}
			for u := range s.machine.self.set {
				if u.owner != s.machine.self || u.offer.to != nil || s.machine.self.set[u].Provisional {
					say("%s claims %v although: %s", h.name, u.Unit, s.machine.Explain(u.Unit))
				}
			}
			if fault := s.machine.check(); fault != "" {
				say("%s: %s", h.name, fault)
			}
		}
	}
	return faults
}

// loads returns how many units each answers for.
func (w *world) loads() map[string]int {
	loads := map[string]int{}
	for _, h := range w.hosts {
		if h.speaker == nil {
			continue
		}
		loads[h.name] = 0
		for _, u := range w.units {
			if h.answers(u).As == Own {
				loads[h.name]++
			}
		}
	}
	return loads
}

// owners returns who answers for each unit.
func (w *world) owners() map[Unit]string {
	owners := map[Unit]string{}
	for _, u := range w.units {
		names, _ := w.answering(u, 0)
		owners[u] = strings.Join(names, "+")
	}
	return owners
}

// check returns what is wrong inside a machine, "" for nothing: it counts what it otherwise keeps.
func (m *Machine) check() string {
	load, total, failing := map[*group]map[*node]int{}, map[*node]int{}, 0
	for key, u := range m.units {
		if u.counted != nil && u.group != nil {
			if load[u.group] == nil {
				load[u.group] = map[*node]int{}
			}
			load[u.group][u.counted]++
		}
		if u.counted != nil {
			total[u.counted]++
		}
		if u.offer.to != nil && u.offer.cause == CauseFailback {
			failing++
		}
		if _, open := m.open[u]; open != u.open || u.Unit != key {
			return fmt.Sprintf("%v is open: %v, kept as: %v", u.Unit, u.open, open)
		}
		if u.group != nil {
			if _, in := u.group.units[u]; !in || m.groups[u.group.key] != u.group {
				return fmt.Sprintf("%v is not in its group", u.Unit)
			}
		}
		for _, c := range u.claims {
			if c.node.set[u] != c.Claim {
				return fmt.Sprintf("%v: claim of %s kept twice and differently", u.Unit, c.name)
			}
		}
	}
	for _, g := range m.groups {
		if len(g.loads) != len(load[g]) {
			return fmt.Sprintf("loads %v, should be %v", g.loads, load[g])
		}
		for n, k := range g.loads {
			if load[g][n] != k {
				return fmt.Sprintf("load of %s %d, should be %d", n.name, k, load[g][n])
			}
		}
	}
	for _, n := range m.nodes {
		if total[n] != n.load {
			return fmt.Sprintf("total load of %s %d, should be %d", n.name, n.load, total[n])
		}
	}
	if failing != m.failing {
		return fmt.Sprintf("%d failbacks under way, counted %d", failing, m.failing)
	}
	return ""
}
