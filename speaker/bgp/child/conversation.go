package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// conversation is a session on one connection. The session's goroutine has it.
type conversation struct {
	s    *session
	conn net.Conn
	in   *incoming
	// quit has the reader stop listening.
	quit chan struct{}
	// closed says that the last words are said.
	closed bool

	state     bgp.State
	hello     hello
	dialect   dialect
	since     time.Time // when it was established
	keepalive *time.Timer
	deadline  *time.Timer // the router's next message must come before
	linger    *time.Timer // runs while routes linger
}

// converse has a session on a connection, until it ends.
func (s *session) converse(ctx context.Context, conn net.Conn) failure {
	c := &conversation{
		s: s, conn: conn, quit: make(chan struct{}),
		in:        &incoming{messages: make(chan message, 4)},
		keepalive: stoppedTimer(), deadline: time.NewTimer(openPatience), linger: stoppedTimer(),
	}
	defer c.keepalive.Stop()
	defer c.deadline.Stop()
	defer c.linger.Stop()
	defer func() {
		if !c.closed { // also on a panic
			conn.Close()
		}
		close(c.quit)
	}()
	s.status.Local, s.status.Remote = connectionEnds(conn)
	s.inForce = s.peer
	hello, err := open(&s.peer, s.status.Ups == 0)
	if err == nil {
		err = c.write(hello)
	}
	if err != nil {
		s.fail(bgp.ConnectionClosed, "the connection ended before our OPEN was sent: "+err.Error())
		return refused
	}
	go c.in.read(conn, s.begin, c.quit)
	c.enter(bgp.OpenSent)
	for {
		var over bool
		var how failure
		select {
		case <-ctx.Done():
			return renewed // the connection closes without a word
		case m, ok := <-c.in.messages:
			if !ok {
				m.err = io.EOF
			}
			how, over = c.hear(m)
		case <-c.keepalive.C:
			how, over = c.sendKeepalive()
		case <-c.deadline.C:
			how, over = c.silence()
		case <-c.linger.C:
			how, over = c.leaveNow()
		case <-s.knocked:
			s.takeIn()
			how, over = c.obey()
			s.publish()
		}
		if over {
			return how
		}
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// enter comes to a state of the conversation.
func (c *conversation) enter(state bgp.State) {
	c.state = state
	c.s.enter(state)
}

// write says something. A router that does not read is as good as silent.
func (c *conversation) write(b []byte) error {
	patience := c.hello.negotiated.HoldTime
	if patience == 0 {
		patience = bgp.DefaultHoldTime
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// close says the last words, if there are any, and closes when the router has taken them.
func (c *conversation) close(words []byte) {
	c.closed = true
	conn := c.conn
	half, ok := conn.(interface{ CloseWrite() error })
	if words == nil || !ok {
		if words != nil {
			_ = conn.SetDeadline(time.Now().Add(closePatience))
			_, _ = conn.Write(words)
		}
		conn.Close()
		return
	}
	c.s.closing.Add(1)
	go func() {
		defer c.s.closing.Done()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(closePatience))
		if _, err := conn.Write(words); err != nil {
			return
		}
		// To close with something unread would have the kernel take our words back.
		if half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
}

// hangUp closes without a word, and has the Stop wait for the router to close as well. From then on it is in graceful
// restart, and nothing that its BFD makes of our silence can take the routes away.
func (c *conversation) hangUp() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		c.close(nil)
		return
	}
	c.closed = true
	c.s.closing.Go(func() {
		defer c.conn.Close()
		_ = c.conn.SetDeadline(time.Now().Add(closePatience))
		if half.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, c.conn)
		}
	})
}

// ending is how a session that ended counts.
func (c *conversation) ending(operator bool) failure {
	switch {
	case c.state < bgp.Established || time.Since(c.since) < fine:
		return refused
	case operator:
		return dismissed
	}
	return lost
}

// hear takes in a message of the router.
func (c *conversation) hear(m message) (failure, bool) {
	switch {
	case m.no != nil:
		c.refuse(m.no)
		return c.ending(false), true
	case m.err != nil:
		c.s.fail(c.connectionLost(m.err))
		return c.ending(false), true
	}
	switch {
	case m.kind == codec.BGP_MSG_NOTIFICATION:
		reason, words, operator := received(m.body[0], m.body[1], m.body[2:], &c.s.inForce)
		c.s.fail(reason, words)
		c.close(nil)
		return c.ending(operator), true
	case m.kind == codec.BGP_MSG_OPEN && c.state == bgp.OpenSent:
		return c.hearOpen(m.body)
	case m.kind == codec.BGP_MSG_KEEPALIVE && c.state == bgp.OpenConfirm:
		return c.establish()
	case m.kind == codec.BGP_MSG_ROUTE_REFRESH && c.state == bgp.Established:
		return c.hearRefresh(m.body)
	}
	// The subcodes of RFC 6608 are the states.
	subcode := map[bgp.State]uint8{bgp.OpenSent: 1, bgp.OpenConfirm: 2, bgp.Established: 3}[c.state]
	c.refuse(&refusal{codec.BGP_ERROR_FSM_ERROR, subcode, []byte{m.kind}, bgp.InvalidMessage,
		fmt.Sprintf("the router sent a message of type %d in state %s", m.kind, c.state)})
	return c.ending(false), true
}

// connectionLost tells what the end of a connection means.
func (c *conversation) connectionLost(err error) (bgp.Reason, string) {
	how := "the router closed the connection"
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		how = "the connection broke (" + cause(err) + ")"
	}
	switch c.state {
	case bgp.OpenSent:
		return bgp.ConnectionClosed, how + " on our OPEN: this node is not among its neighbors, or the session is shut down there"
	case bgp.OpenConfirm:
		return bgp.ConnectionClosed, how + " before the session was established: it may not get what we send, as when ttlSecurity is set at its side only"
	}
	return bgp.ConnectionClosed, how + " without a word"
}

// cause is an error without the addresses that net puts before it.
func cause(err error) string {
	var syscall *os.SyscallError
	if errors.As(err, &syscall) {
		return syscall.Err.Error()
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

func (c *conversation) hearOpen(body []byte) (failure, bool) {
	o := &codec.BGPOpen{}
	if err := o.DecodeFromBytes(body); err != nil {
		no := &refusal{codec.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, nil, bgp.InvalidMessage, "the router's OPEN is malformed: " + err.Error()}
		var told *codec.MessageError
		if errors.As(err, &told) {
			no.code, no.subcode, no.data = told.TypeCode, told.SubTypeCode, told.Data
		}
		c.refuse(no)
		return refused, true
	}
	h, no := judge(&c.s.inForce, o)
	c.hello = h
	c.s.status.ASN, c.s.status.RouterID = h.asn, h.routerID
	if no != nil {
		c.refuse(no)
		return refused, true
	}
	if err := c.write(keepaliveMessage); err != nil {
		c.s.fail(c.connectionLost(err))
		return refused, true
	}
	c.deadline.Reset(openPatience)
	c.enter(bgp.OpenConfirm)
	return 0, false
}

var keepaliveMessage = func() []byte {
	b, err := codec.NewBGPKeepAliveMessage().Serialize()
	if err != nil {
		panic(err) // it is a constant
	}
	return b
}()

// establish begins the session: all routes, then the End-of-RIB markers.
func (c *conversation) establish() (failure, bool) {
	s, n := c.s, &c.hello.negotiated
	c.since = time.Now()
	s.status.Negotiated = *n
	s.status.Ups++
	s.status.Failures, s.status.NextAttempt = 0, time.Time{}
	s.status.UpdatesSent, s.status.UpdatesReceived, s.status.LastUpdate = 0, 0, time.Time{}
	s.unsent = ""
	c.dialect = dialect{
		asn:          s.inForce.ASN,
		internal:     s.inForce.Internal(c.hello.asn),
		fourOctetASN: n.FourOctetASN,
		extended:     n.ExtendedNextHop,
	}
	c.lookForNextHops()
	s.rib.forget()
	c.enter(bgp.Established)
	s.status.Negotiated = *n
	c.state = bgp.Established
	c.nextKeepalive()
	c.nextDeadline()
	if how, over := c.flush(); over {
		return how, true
	}
	for _, f := range n.Families {
		marker, err := endOfRIB(f)
		if err == nil {
			err = c.write(marker)
		}
		if err != nil {
			s.fail(c.connectionLost(err))
			return c.ending(false), true
		}
	}
	// Something may have come in the meantime.
	how, over := c.obey()
	s.publish()
	return how, over
}

// lookForNextHops takes note of the addresses that this node has there, and reports whether routes can be sent by them that could not be.
func (c *conversation) lookForNextHops() bool {
	n, before := &c.hello.negotiated, len(c.hello.negotiated.NoNextHop)
	c.dialect.v4, c.dialect.v6, c.dialect.linkLocal = c.s.network.nextHops(c.s.status.Local.Addr())
	n.NoNextHop = nil
	for _, f := range n.Families {
		if _, _, err := c.dialect.nextHops(f, netip.Addr{}); err != nil {
			n.NoNextHop = append(n.NoNextHop, f)
		}
	}
	c.s.status.Negotiated.NoNextHop = n.NoNextHop
	return len(n.NoNextHop) < before
}

// nextKeepalive sets when the next KEEPALIVE goes out, with jitter (RFC 4271 section 10).
func (c *conversation) nextKeepalive() {
	if every := keepalive(&c.s.peer, c.hello.negotiated.HoldTime); every > 0 {
		c.s.status.Negotiated.KeepaliveTime = every
		c.keepalive.Reset(time.Duration(float64(every) * (1 - rand.Float64()/4)))
	}
}

func (c *conversation) sendKeepalive() (failure, bool) {
	if err := c.write(keepaliveMessage); err != nil {
		c.s.fail(c.connectionLost(err))
		return c.ending(false), true
	}
	c.nextKeepalive()
	if n := c.in.updates.Load(); n != c.s.status.UpdatesReceived {
		c.s.status.UpdatesReceived = n
		c.s.publish()
	}
	if len(c.hello.negotiated.NoNextHop) > 0 && c.lookForNextHops() {
		c.s.unsent = ""
		c.s.rib.touchAll()
		how, over := c.flush()
		c.s.publish()
		return how, over
	}
	return 0, false
}

// nextDeadline sets when the router must have said something more.
func (c *conversation) nextDeadline() {
	hold := c.hello.negotiated.HoldTime
	if hold == 0 {
		c.deadline.Stop()
		return
	}
	heard := c.s.begin.Add(time.Duration(c.in.heard.Load()))
	c.deadline.Reset(time.Until(heard.Add(hold + readLag)))
}

// silence looks whether the router was silent for too long.
func (c *conversation) silence() (failure, bool) {
	switch hold := c.hello.negotiated.HoldTime; {
	case c.state < bgp.Established && c.s.tooFar():
		reason, words := lowTTL(&c.s.inForce, c.s.status.Remote.Addr())
		c.refuse(&refusal{codec.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, nil, reason, words})
	case c.state == bgp.OpenSent:
		c.refuse(&refusal{codec.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, nil, bgp.OpenTimeout,
			fmt.Sprintf("connected, but the router sent no OPEN for %s: its BGP is stuck, or packets get lost, as when ttlSecurity is set at its side only", openPatience)})
	case c.state == bgp.OpenConfirm:
		c.refuse(&refusal{codec.BGP_ERROR_HOLD_TIMER_EXPIRED, 0, nil, bgp.OpenTimeout,
			fmt.Sprintf("the router sent no KEEPALIVE for %s after its OPEN: it may not get what we send, as when ttlSecurity is set at its side only", openPatience)})
	case time.Since(c.s.begin)-time.Duration(c.in.heard.Load()) < hold:
		c.nextDeadline()
		return 0, false
	default:
		c.s.fail(bgp.HoldTimeExpired, fmt.Sprintf("the router was silent for the hold time, %s", hold))
		c.close(holdExpired())
	}
	return c.ending(false), true
}

func (c *conversation) hearRefresh(body []byte) (failure, bool) {
	for _, f := range c.hello.negotiated.Families {
		family := families[f]
		if family.Afi() == uint16(body[0])<<8|uint16(body[1]) && family.Safi() == body[3] {
			c.s.rib.refresh(f)
		}
	}
	how, over := c.flush()
	c.s.publish()
	return how, over
}

// obey does what changed settings, routes, holds and stops ask for.
func (c *conversation) obey() (failure, bool) {
	s := c.s
	switch {
	case s.stop != nil:
		return c.obeyStop()
	case s.hold != "":
		s.fail(bgp.Held, s.hold)
		c.close(notification(codec.BGP_ERROR_CEASE, ceaseBFDDown, nil))
		return renewed, true
	case len(s.remake) > 0:
		return c.remake()
	case c.state == bgp.Established:
		if every := keepalive(&s.peer, c.hello.negotiated.HoldTime); every != s.status.Negotiated.KeepaliveTime {
			c.nextKeepalive()
		}
		return c.flush()
	}
	return 0, false
}

// remake ends the session to make it again: so that the router keeps the routes meanwhile, where it can.
func (c *conversation) remake() (failure, bool) {
	s := c.s
	if c.state == bgp.Established && len(s.remake) == 1 && s.remake[0] == "peerASN" && judgeASN(&s.peer, c.hello.asn) == "" {
		s.remake = nil // written another way, it fits the router as it is
		return c.flush()
	}
	s.fail(bgp.SettingsChanged, "the session is made again with changed settings: "+strings.Join(s.remake, ", "))
	// From another address we are another neighbor: this one would not come back, and the router would keep its routes in vain.
	elsewhere := slices.Contains(s.remake, "sourceAddress")
	if len(c.hello.negotiated.GracefulRestart) > 0 && c.state == bgp.Established && !elsewhere {
		c.close(nil)
	} else {
		c.close(notification(codec.BGP_ERROR_CEASE, codec.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, nil))
	}
	return renewed, true
}

// flush tells the router what it does not know yet.
func (c *conversation) flush() (failure, bool) {
	s := c.s
	changes := s.rib.take(c.hello.negotiated.Families)
	var messages [][]byte
	if len(changes.withdraw) > 0 {
		m, err := withdrawal(changes.withdraw)
		if err != nil {
			panic(err) // prefixes were checked when they came
		}
		messages = append(messages, m...)
	}
	for _, g := range changes.announce {
		m, err := c.dialect.announcement(g)
		if err != nil {
			s.rib.unsent(g)
			s.unsent = fmt.Sprintf("%s routes are not sent: %s", g.family, err)
			continue
		}
		messages = append(messages, m...)
	}
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	if len(all) == 0 {
		return 0, false
	}
	if err := c.write(all); err != nil {
		s.fail(c.connectionLost(err))
		return c.ending(false), true
	}
	s.status.UpdatesSent += uint64(len(messages))
	s.status.LastUpdate = time.Now()
	return 0, false
}

// obeyStop ends the session for good.
func (c *conversation) obeyStop() (failure, bool) {
	s, how := c.s, c.s.stop
	switch {
	case c.state < bgp.Established:
		c.close(shutdown(codec.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, how.Text))
		return 0, true
	case how.deconfigured:
		c.close(notification(codec.BGP_ERROR_CEASE, codec.BGP_ERROR_SUB_PEER_DECONFIGURED, nil))
		return 0, true
	case how.Restart && len(c.hello.negotiated.GracefulRestart) > 0:
		s.fail(bgp.Left, "this speaker restarts, and the router keeps its routes")
		c.hangUp()
		return 0, true
	case s.rib.leaving:
		return 0, false // it lingers
	}
	s.rib.leaving = true
	s.rib.touchAll()
	if s.rib.sent == 0 || s.peer.Linger == 0 {
		return c.leaveNow()
	}
	if how, over := c.flush(); over {
		return how, true
	}
	c.linger.Reset(s.peer.Linger)
	return 0, false
}

// leaveNow withdraws everything and says good-bye.
func (c *conversation) leaveNow() (failure, bool) {
	c.s.rib.removeAll()
	if how, over := c.flush(); over {
		return how, true
	}
	c.s.fail(bgp.Left, "this speaker left")
	c.close(shutdown(codec.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, c.s.stop.Text))
	return 0, true
}
