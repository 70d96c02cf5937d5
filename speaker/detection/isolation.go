package detection

import (
	"net/netip"
	"time"
)

// An ownLink is what this node knows of a link of its own; "" is the way through routers.
type ownLink struct {
	name string
	// answered is when the last question left that anybody at all has answered.
	answered time.Time
	// isolated is since when nobody does.
	isolated time.Time
	down     bool // it has no carrier
	reason   string
	askAt    time.Time
	asked    int
}

func (o *ownLink) reset() {
	*o = ownLink{name: o.name, isolated: o.isolated, down: o.down, reason: o.reason}
}

func (m *Machine) ownLink(name string) *ownLink {
	o := m.own[name]
	if o == nil {
		o = &ownLink{name: name}
		m.own[name] = o
	}
	return o
}

// isolated reports whether nobody answers on an own link.
func (m *Machine) isolated(name string) bool {
	o := m.own[name]
	return o != nil && !o.isolated.IsZero()
}

// setOwnLinks takes note of links that came and went. One without carrier needs no probe to be known as cut off.
func (m *Machine) setOwnLinks() {
	names := map[string]bool{"": true}
	for _, l := range m.world.Links {
		names[l.Name] = true
		o := m.ownLink(l.Name)
		switch {
		case !l.Up && !o.down:
			o.down = true
			if o.isolated.IsZero() {
				o.isolated = m.now
			}
			o.reason = "the link is down"
			m.judgeWatched()
		case l.Up && o.down:
			o.down, o.isolated, o.reason = false, time.Time{}, ""
			m.judgeWatched()
		}
	}
	for name := range m.own {
		if !names[name] {
			delete(m.own, name)
		}
	}
}

// isolate takes note that nobody answers.
func (o *ownLink) isolate(m *Machine, subject string) {
	o.isolated, o.askAt = m.now, m.now
	o.reason = "neither " + subject + " nor anybody else answers"
	m.judgeWatched()
	m.wake(m.now)
}

// heard takes note that somebody answered what was asked at a time.
func (o *ownLink) heard(m *Machine, sent time.Time) {
	if sent.After(o.answered) {
		o.answered = sent
	}
	if !o.isolated.IsZero() && !o.down && sent.After(o.isolated) {
		o.isolated, o.reason = time.Time{}, ""
		// Whom we could not see until now may have gone in the meantime, or be there again.
		for p := range m.watched {
			for _, lw := range p.watch.links {
				if lw.mine == o.name {
					lw.restartExam(m)
					lw.examAt = m.now
				}
			}
		}
		m.judgeWatched()
	}
}

// judgeWatched has all judged anew that this node has a vote on.
func (m *Machine) judgeWatched() {
	for p := range m.watched {
		m.dirty[p] = true
	}
}

// mindOwnLinks asks around on links where nobody answers.
func (m *Machine) mindOwnLinks() {
	for _, name := range sortedKeys(m.own) {
		o := m.own[name]
		if o.isolated.IsZero() || o.down {
			continue
		}
		if m.now.Before(o.askAt) {
			m.wake(o.askAt)
			continue
		}
		o.askAt = m.now.Add(isolatedPause)
		o.asked++
		m.askOthers(name, nil, o.asked, isolatedPause)
		m.wake(o.askAt)
	}
}

// askOthers asks a few others than subject on an own link: does anybody hear us? Half of them are members and
// half are hosts, as far as there are any, and each time they are others.
func (m *Machine) askOthers(own string, subject *peer, turn int, wait time.Duration) {
	members, hosts := m.controls(own, subject, turn), m.hosts(own, turn)
	for range soundControls {
		from := &members
		if len(members) == 0 || len(hosts) > len(members) {
			from = &hosts
		}
		if len(*from) == 0 {
			return
		}
		p := (*from)[0]
		*from = (*from)[1:]
		m.order(p, wait)
	}
}

// controls returns up to soundControls questions to other members on an own link.
func (m *Machine) controls(own string, subject *peer, turn int) []*probe {
	var probes []*probe
	n := len(m.members)
	for i := range n {
		// Start elsewhere each time.
		p := m.members[(i+int(hash(m.config.Node)%uint64(n))+turn*soundControls)%n]
		if p == subject || p.verdict.State == Dead {
			continue
		}
		for _, pr := range pair(m.world.Links, p.Member) {
			if pr.mine == own && len(pr.targets) > 0 {
				probes = append(probes, &probe{peer: p, own: own, target: pr.targets[0], kind: controlProbe})
				break
			}
		}
		if len(probes) == soundControls {
			break
		}
	}
	return probes
}

// hosts returns up to soundControls questions to hosts on an own link.
func (m *Machine) hosts(own string, turn int) []*probe {
	var on []netip.Addr
	for _, h := range m.world.Hosts {
		if h.Link == own && own != "" && h.Addr.IsValid() {
			on = append(on, h.Addr)
		}
	}
	var probes []*probe
	for i := range min(len(on), soundControls) {
		// The first, which is a router if there is one, each time.
		a := on[0]
		if i > 0 {
			a = on[1+(i-1+turn*(soundControls-1))%(len(on)-1)]
		}
		t := target{method: ARP, addr: a}
		if a.Is6() {
			t.method = NDP
		}
		probes = append(probes, &probe{own: own, target: t, kind: controlProbe})
	}
	return probes
}

// isolations returns the own links that are cut off, in order.
func (m *Machine) isolations() []Isolation {
	var result []Isolation
	for _, name := range sortedKeys(m.own) {
		if o := m.own[name]; name != "" && !o.isolated.IsZero() {
			result = append(result, Isolation{Link: name, Since: o.isolated, Reason: o.reason})
		}
	}
	return result
}
