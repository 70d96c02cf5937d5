package speaker

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clarion-lb/clarion/speaker/detection"
	"github.com/clarion-lb/clarion/speaker/gossip"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// detector runs the machine that finds lost nodes. It has a goroutine of its own, so that nothing the loop does delays a
// heartbeat or a verdict; the loop tells it what it knows and is told what the verdicts are.
type detector struct {
	machine *detection.Machine
	send    func(to []string, payload []byte)
	probe   func(...layer2.Probe)
	// turning reports whether requests would be answered now.
	turning func(within time.Duration) bool

	heard   *inbox[detection.Message]
	results *inbox[layer2.ProbeResult]
	// found are verdicts for the loop.
	found *inbox[detection.Verdict]

	suspicions atomic.Uint64 // how often a node was suspected
	// calm is whether heartbeats that say nothing new, and answers to probes, may wait for the next step.
	calm atomic.Bool

	mu       sync.Mutex
	said     map[string]saying // what heartbeats said last, by node
	flags    detection.Flags
	world    *detection.World // news, nil for none
	isolated []string         // own links on which nobody answers
	news     chan struct{}
}

const (
	// maxHeard is how many messages may wait. They are a second's worth in a large cluster that has lost half its nodes.
	maxHeard = 4096
	// turnWithin is how long the loops that answer may take to come round, before this speaker says nothing more.
	turnWithin = 300 * time.Millisecond
	// turnEvery is how often they are asked.
	turnEvery = 230 * time.Millisecond
)

func newDetector(node string, life uint64, interval time.Duration, dropped func()) *detector {
	return &detector{
		machine: detection.New(detection.Config{Node: node, Life: life, Interval: interval}),
		heard:   newInbox[detection.Message](maxHeard, dropped),
		results: newInbox[layer2.ProbeResult](0, nil),
		found:   newInbox[detection.Verdict](0, nil),
		said:    map[string]saying{},
		news:    make(chan struct{}, 1),
	}
}

// A saying is what a heartbeat says of its speaker.
type saying struct {
	life  uint64
	flags detection.Flags
}

// hear takes in a packet that another speaker's detection has sent. Most of them are heartbeats that say what the ones before
// said, and wake nobody up: they count from when they came.
func (d *detector) hear(m detection.Message) {
	if flags, routine := detection.Routine(m.Payload); routine {
		says := saying{m.Life, flags}
		d.mu.Lock()
		news := d.said[m.From] != says
		if news && len(d.said) >= maxHeard {
			clear(d.said)
		}
		d.said[m.From] = says
		d.mu.Unlock()
		if !news && d.calm.Load() {
			d.heard.add(m)
			return
		}
	}
	d.heard.put(m)
}

// probed takes in what became of a probe.
func (d *detector) probed(r layer2.ProbeResult) {
	if r.Outcome == layer2.ProbeAnswered && d.calm.Load() {
		d.results.add(r)
		return
	}
	d.results.put(r)
}

// tell sets what this speaker says of itself in heartbeats, and with a world that is not nil what is known of the others.
func (d *detector) tell(flags detection.Flags, world *detection.World) {
	d.mu.Lock()
	changed := world != nil || flags != d.flags
	d.flags = flags
	if world != nil {
		d.world = world
	}
	d.mu.Unlock()
	if changed {
		select {
		case d.news <- struct{}{}:
		default:
		}
	}
}

// isolation returns this node's own links on which nobody answers, in order.
func (d *detector) isolation() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.isolated
}

// run detects until ctx ends.
func (d *detector) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	turning, asked := false, time.Time{}
	for {
		now := clock()
		if now.Sub(asked) >= turnEvery {
			turning, asked = d.turning(turnWithin), now
		}
		in := detection.Input{Turning: turning, Heard: d.heard.take()}
		for _, r := range d.results.take() {
			in.Results = append(in.Results, resultOf(now, r))
		}
		d.mu.Lock()
		in.Flags, in.World = d.flags, d.world
		d.world = nil
		d.mu.Unlock()

		out := d.machine.Step(now, in)
		for _, s := range out.Send {
			d.send(s.To, s.Payload)
		}
		if len(out.Probes) > 0 {
			probes := make([]layer2.Probe, len(out.Probes))
			for i, o := range out.Probes {
				probes[i] = probeOf(o)
			}
			d.probe(probes...)
		}
		d.conclude(out)
		if d.calm.Swap(out.Calm) && !out.Calm {
			d.heard.poke() // what came in the meantime must not wait any more
		}
		timer.Reset(max(out.WakeAt.Sub(clock()), 0))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-d.heard.signal:
		case <-d.results.signal:
		case <-d.news:
		}
	}
}

// conclude makes the verdicts known to the loop.
func (d *detector) conclude(out detection.Output) {
	d.suspicions.Add(uint64(out.Suspected))
	var isolated []string
	for _, i := range out.Isolated {
		isolated = append(isolated, i.Link)
	}
	d.mu.Lock()
	changed := !slices.Equal(isolated, d.isolated)
	d.isolated = isolated
	d.mu.Unlock()
	if len(out.Verdicts) > 0 {
		d.found.put(out.Verdicts...)
	} else if changed {
		d.found.poke()
	}
}

// lookBit marks the probes that are not the detector's.
const lookBit = 1 << 63

func probeOf(o detection.ProbeOrder) layer2.Probe {
	p := layer2.Probe{ID: o.ID &^ lookBit, Peer: o.Peer, Interface: o.Interface, Target: o.Target, Port: o.Port,
		Expect: layer2.MAC(o.Expect), Deadline: time.Now().Add(o.Deadline.Sub(clock()))}
	switch o.Method {
	case detection.ARP, detection.NDP:
		p.Method = layer2.ProbeNeighbor
	case detection.Echo4, detection.Echo6:
		p.Method = layer2.ProbeEcho
	case detection.TCP:
		p.Method = layer2.ProbeConnect
	}
	return p
}

// resultOf is what became of a probe, on the machines' clock.
func resultOf(now time.Time, r layer2.ProbeResult) detection.ProbeResult {
	out := detection.ProbeResult{ID: r.ID, Sent: now.Add(-time.Since(r.Sent)), MAC: detection.MAC(r.MAC)}
	switch r.Outcome {
	case layer2.ProbeAnswered:
		out.Outcome, out.RTT = detection.Answered, r.At.Sub(r.Sent)
	case layer2.ProbeOtherMAC:
		out.Outcome, out.RTT = detection.Answered, r.At.Sub(r.Sent)
	case layer2.ProbeNotSent:
		out.Outcome = detection.NotSent
	default:
		out.Outcome = detection.Unanswered
	}
	return out
}

// worldOf is what gossip and the links say, as detection needs it. hosts are neighbours that are no nodes.
func worldOf(self string, s gossip.Snapshot, links []layer2.Link, port uint16, hosts []detection.Host) *detection.World {
	w := &detection.World{Links: detectionLinks(gossipLinks(links)), Hosts: hosts}
	add := func(m gossip.Member, heard bool) {
		if m.Node == self || m.Facts.Life == 0 {
			return
		}
		w.Members = append(w.Members, detection.Member{Node: m.Node, Life: m.Facts.Life, Gossip: heard,
			Addr: netip.AddrPortFrom(m.Addr, port), Links: detectionLinks(m.Facts.Links)})
	}
	for _, m := range s.Members {
		add(m, true)
	}
	for _, m := range s.Lost {
		add(m, false)
	}
	return w
}

func detectionLinks(links []gossip.Link) []detection.Link {
	out := make([]detection.Link, 0, len(links))
	for _, l := range links {
		out = append(out, detection.Link{Name: l.Name, Up: l.Up, MAC: l.MAC, Addresses: placed(l.Addresses, l.Prefixes), LinkLocal: l.LinkLocal})
	}
	return out
}

// placed returns networks with the first of these addresses in each, where there is one.
func placed(addresses []netip.Addr, networks []netip.Prefix) []netip.Prefix {
	out := slices.Clone(networks)
	for i, n := range networks {
		if at := slices.IndexFunc(addresses, n.Contains); at >= 0 {
			out[i] = netip.PrefixFrom(addresses[at], n.Bits())
		}
	}
	return out
}

// hostsOf returns those on each link that tell whether this node is cut off, when no other node answers: its routers, and
// after them some hosts that lately asked for something and are no nodes. Where fewer have asked, those follow that the kernel knows: where
// there are two nodes and no router, who is left has to have somebody who shows that it is not cut off itself.
func hostsOf(links []layer2.Link, s gossip.Snapshot, askers func(iface string, family layer2.Family, limit int) []layer2.Asker,
	neighbors func(l layer2.Link, family layer2.Family, limit int) []layer2.Asker) []detection.Host {
	const perLink = 4
	known := map[layer2.MAC]bool{}
	for _, m := range slices.Concat(s.Members, s.Lost) {
		for _, l := range m.Facts.Links {
			known[l.MAC] = true
		}
	}
	var hosts []detection.Host
	for _, l := range links {
		var on, near []netip.Addr
		for _, family := range []layer2.Family{layer2.IPv4, layer2.IPv6} {
			asked := 0
			for _, a := range askers(l.Name, family, perLink) {
				if !known[a.MAC] {
					on = append(on, a.Address)
					asked++
				}
			}
			if asked == perLink {
				continue
			}
			for _, a := range neighbors(l, family, perLink+len(known)) {
				if !known[a.MAC] && asked < perLink {
					near = append(near, a.Address)
					asked++
				}
			}
		}
		slices.SortFunc(on, netip.Addr.Compare)
		slices.SortFunc(near, netip.Addr.Compare)
		for _, a := range slices.Concat(l.Routers[:min(len(l.Routers), perLink)], on, near) {
			if h := (detection.Host{Link: l.Name, Addr: a.WithZone("")}); !slices.Contains(l.Addresses, a) && !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts
}
