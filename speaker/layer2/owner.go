package layer2

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// The owner is what Run's goroutine, and no other, knows and does:
//
//	links, answers ──► which segments should have a responder ──► start, stop, poke
//	responders' reports and endings ──► State
type owner struct {
	*Announcer
	links   map[string]observed // nil before the first look
	posts   map[segment]*post
	paces   map[string]*rate.Limiter // one per interface, both families share it
	ended   chan ending
	journal journal
	// reannounced is the count of Reannounce that responders were told of.
	reannounced uint64
	// woken is the count of Awake that they were told of.
	woken uint64
}

func newOwner(a *Announcer) *owner {
	return &owner{
		Announcer: a,
		posts:     make(map[segment]*post),
		paces:     make(map[string]*rate.Limiter),
		ended:     make(chan ending),
		journal:   journal{log: a.log, causes: make(map[cause]*rate.Limiter)},
	}
}

// A post is a segment that has something to announce, with or without a
// responder at work:
//
//	NoInterface ──► LinkDown ──► Opening ──► Answering
//	     ▲             ▲            │            │
//	     └─────────────┴────────────┴──(error)───┴──► Failed ──(later)──► as Opening
type post struct {
	table     *table
	responder *responder // nil when none is running
	stop      func()     // ends the responder and waits for it
	started   time.Time
	link      observed // the link that responder, status and failures refer to
	status    Status   // unless the responder is answering
	err       error    // with status Failed
	failures  int      // in a row
	retryAt   time.Time
}

// An ending is the error with which a responder ended by itself.
type ending struct {
	responder *responder
	err       error
}

// Responders that fail are started again after a while that doubles up to a limit.
const (
	retryFirst = 250 * time.Millisecond
	retryLast  = 30 * time.Second
)

// retryDelay is the time to wait after so many failures in a row.
func retryDelay(failures int) time.Duration {
	return min(retryFirst<<min(failures-1, 16), retryLast)
}

// observe takes over what the kernel shows, and publishes what of it is new.
func (o *owner) observe(links []observed) {
	o.links = make(map[string]observed, len(links))
	list := make([]Link, len(links))
	for i, l := range links {
		o.links[l.Name] = l
		list[i] = l.Link
	}
	if old, _ := o.Announcer.links.load(); old == nil || !slices.EqualFunc(old, list, Link.Equal) {
		o.Announcer.links.store(list)
	}
	o.forgetAskers(func(iface string) bool { _, exists := o.links[iface]; return exists })
	for name := range o.paces {
		if _, exists := o.links[name]; !exists {
			delete(o.paces, name)
		}
	}
}

// conclude notes why a responder ended, and returns an error if there is no use
// in going on.
func (o *owner) conclude(now time.Time, e ending) error {
	p := o.posts[e.responder.segment]
	if p == nil || p.responder != e.responder {
		return nil
	}
	o.end(p)
	if now.Sub(p.started) > retryLast {
		p.failures = 0
	}
	p.failures++
	p.retryAt = now.Add(retryDelay(p.failures))
	p.err = e.err
	p.status = Failed
	switch v := judge(e.err); {
	case v == giveUp:
		return e.err
	case p.failures > 1:
		// If it were about the link, watching it would have told so by now.
	case v == awaitLink:
		p.status = LinkDown
	case v == awaitDevice:
		p.status = NoInterface
	}
	return nil
}

// reconcile makes the responders those that should be, and publishes the state
// if it is new. It returns when to be called again to retry.
func (o *owner) reconcile(ctx context.Context, now time.Time) (retry <-chan time.Time) {
	want := *o.answers.Load()
	for s, p := range o.posts {
		if want[s] == nil {
			o.end(p)
			delete(o.posts, s)
		}
	}
	again := false
	for seen, count := range map[*uint64]uint64{&o.reannounced: o.reannounce.Load(), &o.woken: o.wakes.Load()} {
		again = again || *seen != count
		*seen = count
	}
	var wake time.Time
	for s, t := range want {
		p := o.posts[s]
		if p == nil {
			p = &post{status: Opening}
			o.posts[s] = p
		}
		o.man(ctx, now, s, p)
		if p.responder != nil && (again || p.table != t) {
			p.responder.poke()
		}
		p.table = t
		if p.responder == nil && !p.retryAt.IsZero() && (wake.IsZero() || p.retryAt.Before(wake)) {
			wake = p.retryAt
		}
	}
	o.publish(now)
	if wake.IsZero() {
		return nil
	}
	return time.After(wake.Sub(now))
}

// man sees to it that the segment has a responder exactly when its link is up,
// and that the responder was made for the link as it is.
func (o *owner) man(ctx context.Context, now time.Time, s segment, p *post) {
	if o.links == nil {
		return
	}
	link, exists := o.links[s.iface]
	if p.link.same(link) {
		if p.responder != nil {
			o.update(p, link)
			return
		}
		if now.Before(p.retryAt) {
			return
		}
	} else {
		o.end(p)
		p.failures = 0
	}
	p.link, p.retryAt = link, time.Time{}
	switch {
	case !exists:
		p.status = NoInterface
	case !link.Up:
		p.status = LinkDown
	default:
		o.start(ctx, now, s, p)
	}
}

// update hands what is new of a link to a responder that can go on.
func (o *owner) update(p *post, link observed) {
	if !p.link.Equal(link.Link) {
		p.link = link
		p.responder.network.Store(&link.Link)
	}
}

// start starts a responder. A status of failure is kept until it answers.
func (o *owner) start(ctx context.Context, now time.Time, s segment, p *post) {
	if o.paces[s.iface] == nil {
		o.paces[s.iface] = rate.NewLimiter(rate.Limit(o.rate), max(1, o.rate/burstsPerSecond))
	}
	r := &responder{
		segment: s, protocol: &protocols[s.family], link: p.link.Link, open: o.open, answers: &o.answers,
		counters: o.counters, pace: o.paces[s.iface], changed: make(chan struct{}, 1), remarks: make(chan remark, remarksBuffer), report: o.poke,
		refresh: o.refresh, reannounce: &o.reannounce, askers: o.askersOn(s), announcer: o.Announcer,
	}
	network := p.link.Link
	r.network.Store(&network)
	r.canaries.Store(new([]netip.Addr))
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.run(ctx); err != nil {
			select {
			case o.ended <- ending{r, err}:
			case <-ctx.Done():
			}
		}
	}()
	p.responder, p.started = r, now
	p.stop = func() { cancel(); <-done }
	if p.failures == 0 {
		p.status = Opening
	}
}

// burstsPerSecond sets the burst that the pace of gratuitous frames allows: what
// fits into 1/20 s goes out at once.
const burstsPerSecond = 20

func (o *owner) end(p *post) {
	if p.stop != nil {
		p.stop()
	}
	p.responder, p.stop = nil, nil
}

func (o *owner) stopAll() {
	for _, p := range o.posts {
		o.end(p)
	}
}

// publish makes the state known if it is new.
func (o *owner) publish(now time.Time) {
	next := State{Segments: make([]Segment, 0, len(o.posts)), Held: o.Held()}
	var atWork []*responder
	for s, p := range o.posts {
		seg := Segment{Interface: s.iface, Family: s.family, Status: p.status, Addresses: p.table.announced}
		if p.responder != nil {
			p.responder.served.Load().show(&seg)
			atWork = append(atWork, p.responder)
		}
		if seg.Status == Failed && seg.Error == "" {
			seg.Error = p.err.Error()
		}
		next.Segments = append(next.Segments, seg)
	}
	slices.SortFunc(next.Segments, func(a, b Segment) int {
		return segment{a.Interface, a.Family}.compare(segment{b.Interface, b.Family})
	})
	o.atWork.Store(&atWork)
	old, _ := o.state.load()
	if old.Held == next.Held && slices.EqualFunc(old.Segments, next.Segments, Segment.equal) {
		return
	}
	o.state.store(next)
	o.journal.changes(now, old, next)
}
