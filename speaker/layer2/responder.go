package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A responder answers and announces on one segment for as long as the link
// stays what it is: when the link goes, comes back or changes its MAC, the
// Announcer ends the responder and starts another.
//
// It has two goroutines. The one in serve answers; nothing but the socket and
// the answer table is on its way. The one in run does everything that
// may take longer: it keeps filter and multicast groups in step with the table
// and sends gratuitous frames.
type responder struct {
	segment  segment
	protocol *protocol
	link     Link
	open     openFunc
	answers  *atomic.Pointer[answers]
	counters *counters
	pace     *rate.Limiter
	refresh  time.Duration
	// reannounce counts how often all was to be announced again.
	reannounce *atomic.Uint64

	// network is the link with what may change while the responder runs: its addresses and
	// routers.
	network atomic.Pointer[Link]
	// remarks are what other hosts say of addresses announced here, or of canaries. When there is no room, a
	// remark is lost: there will be another one.
	remarks chan remark
	// canaries are those that contests ask for.
	canaries atomic.Pointer[[]netip.Addr]
	// served is what of the table is in force so far.
	served atomic.Pointer[served]
	// changed has room for one note that answers, source or reannounce are new.
	changed chan struct{}
	// round shows that serve comes round.
	round round
	// askers remembers who asks here.
	askers *askers
	// announcer is who knows whether anything may be said at all.
	announcer *Announcer
	// report is called when served has changed.
	report func()
}

// remarksBuffer is how many remarks may wait to be looked at.
const remarksBuffer = 256

// overflowInterval is how often the kernel is asked how much it had to drop.
const overflowInterval = 5 * time.Second

// table returns what is to be answered here.
func (r *responder) table() *table { return (*r.answers.Load()).on(r.segment) }

// poke tells the responder to look at its table again.
func (r *responder) poke() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// run serves the segment until ctx ends, then returns nil, or until the port fails.
func (r *responder) run(ctx context.Context) error {
	p, err := r.open(r.link, r.segment.family)
	if err != nil {
		return fmt.Errorf("opening %s socket on %s: %w", r.segment.family, r.segment.iface, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- r.serve(p)
		close(ended)
	}()
	defer func() {
		r.countOverflow(p)
		p.Close() // which ends serve
		for range ended {
		}
	}()

	var (
		w      = newWork(r, p)
		timer  = time.NewTimer(0)
		ticker = time.NewTicker(overflowInterval)
	)
	defer timer.Stop()
	defer ticker.Stop()
	for {
		wake, err := w.step(time.Now())
		if err != nil {
			return err
		}
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return fmt.Errorf("receiving %s on %s: %w", r.segment.family, r.segment.iface, err)
		case <-r.changed:
		case m := <-r.remarks:
			w.hear(time.Now(), m)
		case <-timer.C:
		case <-ticker.C:
			r.countOverflow(p)
		}
	}
}

func (r *responder) countOverflow(p port) {
	r.counters[r.segment.family].dropped[DropOverflow].Add(p.Overflowed())
}

// serve answers requests until the port is closed.
func (r *responder) serve(p port) error {
	r.round.begin(p.Nudge)
	return p.Serve(r)
}

// handle answers a frame.
func (r *responder) handle(frame []byte, at time.Time, reply []byte) []byte {
	count := &r.counters[r.segment.family]
	now := time.Now()
	own := r.link.HardwareAddr
	switch {
	case r.announcer.gapped(now) || now.Sub(at) > gapLimit:
		if r.announcer.holdAfterGap {
			r.announcer.Hold()
		}
		count.drop(DropStale)
		return nil
	case r.announcer.Held():
		count.drop(DropHeld)
		return nil
	}
	q, reason := r.protocol.parse(frame, own)
	switch {
	case reason == DropNotRequest:
		if st, ok := r.protocol.statement(frame); ok && st.source != own {
			r.note(remark{address: st.address, mac: st.mac, answer: st.answer})
		}
		fallthrough
	case reason != answered:
		count.drop(reason)
		return nil
	}
	mac, reason := r.table().answer(q, r)
	switch reason {
	case answered:
		r.askers.note(now, q.address, q.asker, q.askerMAC)
		r.note(remark{address: q.asker, mac: q.askerMAC})
	case DropStandby:
		r.askers.note(now, q.address, q.asker, q.askerMAC)
	case DropClaimed, DropNotAnnounced:
		r.note(remark{address: q.asker, mac: q.askerMAC})
	case DropClaiming:
		// Who asks a single host whether an address is still there is about to claim nothing.
		if q.asker.IsUnspecified() && !ethernetDestination(frame).IsUnicast() {
			r.note(remark{address: q.address, mac: q.askerMAC, probe: true})
		}
	}
	if reason != answered {
		count.drop(reason)
		return nil
	}
	if mac.IsZero() {
		mac = own
	}
	return r.protocol.reply(reply, own, mac, q)
}

// note passes a remark on, if it is about an address of this node's own or about a canary.
func (r *responder) note(m remark) {
	b, announced := r.table().bindings.get(m.address)
	m.mode = b.mode
	switch {
	case announced && (!b.own() || b.mode == ConflictOff):
		return
	case !announced && !slices.Contains(*r.canaries.Load(), m.address):
		return
	case r.announcer.isOwn(m.mac):
		return
	}
	select {
	case r.remarks <- m:
	default:
	}
}

// sent counts an answer.
func (r *responder) sent(err error) {
	count := &r.counters[r.segment.family]
	if err != nil {
		count.drop(DropSendFailed)
		return
	}
	count.answered.Add(1)
}

// turned notes that serve has come round.
func (r *responder) turned() { r.round.came() }
