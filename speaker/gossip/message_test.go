package gossip

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mailbox keeps what was received.
type mailbox struct {
	mu  sync.Mutex
	got []Message
}

func (b *mailbox) receive(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, m)
}

func (b *mailbox) take() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

func (c *cluster) mailbox(i int) *mailbox {
	b := &mailbox{}
	c.nodes[i].receive = b.receive
	return b
}

func TestMessagesArriveInAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		one, two := c.mailbox(1), c.mailbox(2)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		begin := time.Now()
		c.nodes[0].Send([]string{"node-01", "node-02", "node-00", "node-77"}, 5, []byte("hello"), false)
		time.Sleep(5 * time.Millisecond)
		for _, b := range []*mailbox{one, two} {
			got := b.take()
			if len(got) != 1 || got[0].From != "node-00" || got[0].Life != c.nodes[0].Life() || got[0].Kind != 5 ||
				string(got[0].Payload) != "hello" || got[0].At.Before(begin) {
				t.Errorf("received %+v", got)
			}
		}
	})
}

// The life in messages is the one in the facts, so who hears a message knows whether it is from the speaker it knows.
func TestMessagesAreOfTheLifeInTheFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		if got := c.nodes[1].sees().Members[0].Facts.Life; got == 0 || got != c.nodes[0].Life() {
			t.Errorf("facts of life %d, messages of life %d", got, c.nodes[0].Life())
		}
	})
}

func TestStreamsBringWhatIsTooBigForAPacketInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		one := c.mailbox(1)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.net.mu.Lock()
		c.net.loss = 1 // of packets
		c.net.mu.Unlock()
		big := bytes.Repeat([]byte("claim "), 100_000)
		c.nodes[0].Send([]string{"node-01"}, 1, big, false)
		for i := range 10 {
			c.nodes[0].Send([]string{"node-01"}, 2, fmt.Append(nil, i), true)
		}
		c.nodes[0].Send([]string{"node-01"}, 3, []byte("lost"), false)
		time.Sleep(100 * time.Millisecond)
		got := one.take()
		if len(got) != 11 || !bytes.Equal(got[0].Payload, big) {
			t.Fatalf("%d messages", len(got))
		}
		for i, m := range got[1:] {
			if string(m.Payload) != fmt.Sprint(i) {
				t.Errorf("message %d is %q", i, m.Payload)
			}
		}
	})
}

// A peer that takes nothing holds up neither the sender nor what goes to others.
func TestAPeerThatTakesNothingHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		two := c.mailbox(2)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		c.net.setCut(nodeAddr(1), true)
		begin := time.Now()
		for range 10 * maxOutbox {
			c.nodes[0].Send([]string{"node-01"}, 1, []byte("into the void"), true)
		}
		c.nodes[0].Send([]string{"node-01", "node-02"}, 2, []byte("to both"), true)
		if took := time.Since(begin); took > 0 {
			t.Errorf("sending took %s", took)
		}
		time.Sleep(10 * time.Millisecond)
		if got := two.take(); len(got) != 1 {
			t.Errorf("the other received %d messages", len(got))
		}
		if n := c.nodes[0].Counters().Overrun; n < 8*maxOutbox {
			t.Errorf("%d messages overrun", n)
		}
	})
}

// After a split memberlist takes the other side for dead; messages go there all the same.
func TestMessagesReachNodesThatAreNoMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		one := c.mailbox(1)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.net.setGroup(nodeAddr(1), 1)
		c.await("lost", 3*time.Second, c.all0("00"))
		c.net.setGroup(nodeAddr(1), 0)
		c.nodes[0].Send([]string{"node-01"}, 1, []byte("still there?"), false)
		time.Sleep(time.Millisecond)
		if got := one.take(); len(got) != 1 {
			t.Errorf("received %d messages", len(got))
		}
	})
}

// all0 reports whether the first speaker sees what is wanted.
func (c *cluster) all0(want string) func() bool {
	return func() bool { return members(c.nodes[0].sees()) == want }
}

func TestNothingIsSentBeforeGossipRuns(t *testing.T) {
	g := New(Options{Node: "node-00"})
	g.Send([]string{"node-01"}, 1, []byte("nobody listens"), true)
	g.Send(nil, 1, make([]byte, maxPayload+1), true)
	if got := g.Counters(); got.Overrun != 0 || got.Undelivered != 1 {
		t.Errorf("counters %+v", got)
	}
}

// The keys are replaced while a speaker is away: for a while it does not understand those that talk with the old one.
// They are there, and it must not take their places.
func TestWhoTalksWithKeysThatWeLackIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		c.stop(2)
		c.await("noticed", 3*time.Second, c.all("00 01"))
		for i := range 2 {
			c.nodes[i].change(func(d *Desired) { d.Keys = []Key{keyTwo} })
		}
		n := c.start(2, func(d *Desired) { d.Keys = []Key{keyTwo} })
		for range 5 {
			time.Sleep(time.Second)
			if s := n.sees(); !s.Unintelligible || len(s.Missing) != 2 {
				t.Fatalf("sees %+v", s)
			}
		}
		c.await("all see all", keySpread, c.all(everybody(3)))
		time.Sleep(heardLately + time.Second)
		if s := n.sees(); s.Unintelligible || !s.Accounted {
			t.Errorf("in the end sees %+v", s)
		}
	})
}

func TestAPeerThatIsGoneIsNotTakenForUnintelligible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.stop(1)
		c.await("noticed", 3*time.Second, c.all("00"))
		time.Sleep(heardLately + time.Second)
		if s := c.nodes[0].sees(); s.Unintelligible || !slices.Equal(s.Missing, []string{"node-01"}) {
			t.Errorf("sees %+v", s)
		}
	})
}

// A speaker that has just started learns from the others what a node said last that was lost before.
func TestWhatTheLostSaidIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		c.stop(2)
		c.await("noticed", 3*time.Second, c.all("00 01"))
		c.stop(1)
		c.await("noticed", 3*time.Second, c.all("00"))
		n := c.start(1, nil)
		c.await("all see all", 3*time.Second, c.all("00 01"))
		time.Sleep(time.Second)
		s := n.sees()
		if len(s.Lost) != 1 || s.Lost[0].Node != "node-02" || s.Lost[0].Known || len(s.Lost[0].Facts.Links) != 1 {
			t.Errorf("sees %+v", s.Lost)
		}
		// Who is not expected any more is forgotten.
		n.change(func(d *Desired) { d.Peers = d.Peers[:2] })
		time.Sleep(time.Second)
		if s := n.sees(); len(s.Lost) != 0 {
			t.Errorf("still sees %+v", s.Lost)
		}
	})
}

func TestEarsForgetRatherThanGrow(t *testing.T) {
	var e ears
	for i := range 2 * maxHeard {
		e.hear(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), time.Now())
	}
	if len(e.last) > maxHeard {
		t.Errorf("%d hosts", len(e.last))
	}
}
