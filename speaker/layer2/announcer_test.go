package layer2

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A world is an Announcer whose links and ports are in memory, in a synctest bubble.
type world struct {
	t *testing.T
	*Announcer
	links  chan []observed
	unseen chan error // ends a watch
	logged bytes.Buffer
	ended  chan error

	slept atomic.Int64 // by the clock that goes on meanwhile

	mu      sync.Mutex
	refuse  map[segment]error // what opening says
	opened  []*fakePort
	joinErr error
}

// inWorld runs a story in a bubble. The Announcer runs from the start, and
// refreshes nothing.
func inWorld(t *testing.T, story func(w *world)) {
	t.Helper()
	inWorldOf(t, Options{RefreshInterval: -1}, story)
}

// inWorldOf is inWorld with other options.
func inWorldOf(t *testing.T, o Options, story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, links: make(chan []observed), unseen: make(chan error), ended: make(chan error, 1), refuse: make(map[segment]error)}
		o.Logger = slog.New(slog.NewTextHandler(&w.logged, nil))
		w.Announcer = New(o)
		w.open = w.openPort
		w.sinceBoot = func() time.Duration { return time.Since(w.born) + time.Duration(w.slept.Load()) }
		w.watch = func(ctx context.Context, out chan<- []observed) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case err := <-w.unseen:
					return err
				case links := <-w.links:
					out <- links
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { w.ended <- w.Run(ctx) }()
		story(w)
		cancel()
		synctest.Wait()
		for _, p := range w.opened {
			if !p.closed() {
				t.Errorf("the port of %v was left open", p.segment)
			}
		}
	})
}

// see shows links to the Announcer and lets it act.
func (w *world) see(links ...observed) { w.links <- links; synctest.Wait() }

// after lets time pass.
func (w *world) after(d time.Duration) { time.Sleep(d); synctest.Wait() }

func (w *world) apply(desired ...Announcement) { w.Apply(desired); synctest.Wait() }

// port returns the last port opened on a segment.
func (w *world) port(iface string, f Family) *fakePort {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range slices.Backward(w.opened) {
		if p.segment == (segment{iface, f}) {
			return p
		}
	}
	w.t.Fatalf("no port was opened on %s for %s", iface, f)
	return nil
}

// statuses returns the state in brief: "eth0/IPv4 Answering 1/2".
func (w *world) statuses() []string {
	s, _ := w.State()
	var all []string
	for _, seg := range s.Segments {
		all = append(all, fmt.Sprintf("%s/%s %s %d/%d", seg.Interface, seg.Family, seg.Status, len(seg.Answered), len(seg.Addresses)))
	}
	return all
}

func (w *world) expect(what string, statuses ...string) {
	w.t.Helper()
	if got := w.statuses(); !slices.Equal(got, statuses) {
		w.t.Errorf("%s: got %v, expected %v", what, got, statuses)
	}
}

// refuses makes opening a port on s fail with err, or succeed again.
func (w *world) refuses(s segment, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refuse[s] = err
}

// refusesGroups makes joining any group fail on ports opened from now on.
func (w *world) refusesGroups(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joinErr = err
}

func (w *world) openPort(l Link, f Family) (port, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := segment{l.Name, f}
	if err := w.refuse[s]; err != nil {
		return nil, err
	}
	p := &fakePort{segment: s, link: l, joined: make(map[netip.Addr]bool), refuses: make(map[netip.Addr]error), frames: make(chan []byte), fail: make(chan error, 1), nudged: make(chan struct{}, 1),
		done: make(chan struct{}), joinErr: w.joinErr}
	w.opened = append(w.opened, p)
	return p, nil
}

// A fakePort is a port in memory.
type fakePort struct {
	segment segment
	link    Link
	frames  chan []byte
	fail    chan error
	done    chan struct{}
	joinErr error
	lag     time.Duration // how old frames are when they are read
	nudged  chan struct{}
	hang    atomic.Bool // nudges do nothing

	mu       sync.Mutex
	filtered int // calls of Listen
	joined   map[netip.Addr]bool
	refuses  map[netip.Addr]error // groups that cannot be joined
	sent     [][]byte             // announcements
	asked    [][]byte             // probes and looks
	replies  [][]byte
}

var _ port = (*fakePort)(nil)

func (p *fakePort) Listen(_, _ []netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filtered++
	return nil
}

func (p *fakePort) Join(g netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.joined[g] {
		return fmt.Errorf("%v joined twice", g)
	}
	if p.refuses[g] != nil {
		return p.refuses[g]
	}
	if p.joinErr != nil {
		return p.joinErr
	}
	p.joined[g] = true
	return nil
}

func (p *fakePort) Leave(g netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.joined[g] {
		return fmt.Errorf("%v left, but not joined", g)
	}
	delete(p.joined, g)
	return nil
}

func (p *fakePort) Serve(s server) error {
	for {
		select {
		case <-p.done:
			return nil
		case err := <-p.fail:
			return err
		case <-p.nudged:
			if !p.hang.Load() {
				s.turned()
			}
		case f := <-p.frames:
			reply := s.handle(f, time.Now().Add(-p.lag), nil)
			if len(reply) > 0 {
				s.sent(nil)
			}
			p.mu.Lock()
			p.replies = append(p.replies, reply)
			p.mu.Unlock()
		}
	}
}

func (p *fakePort) Send(frame []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if asksOnly(frame) {
		p.asked = append(p.asked, slices.Clone(frame))
	} else {
		p.sent = append(p.sent, slices.Clone(frame))
	}
	return nil
}

// asksOnly reports whether a frame that is sent unasked tells nobody of an address: an ARP probe, or
// a solicitation that is not from one of ours.
func asksOnly(frame []byte) bool {
	if binary.BigEndian.Uint16(frame[12:]) == etherTypeARP {
		return binary.BigEndian.Uint32(frame[arpSenderAddress:]) == 0
	}
	source := netip.AddrFrom16([16]byte(frame[ipv6Source:]))
	return frame[icmpv6Type] == 135 && (source.IsUnspecified() || source.IsLinkLocalUnicast())
}

func (p *fakePort) Nudge() {
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

func (p *fakePort) Overflowed() uint64 { return 1 }
func (p *fakePort) Close() error       { close(p.done); return nil }

func (p *fakePort) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ask puts a frame on the wire and returns what came back, if anything.
func (p *fakePort) ask(frame []byte) []byte {
	p.frames <- frame
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replies[len(p.replies)-1]
}

// announced returns how many gratuitous frames were sent since it was asked last.
func (p *fakePort) announced() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.sent)
	p.sent = nil
	return n
}

func link(name string, index int, mac MAC) observed {
	return observed{Link: Link{Name: name, Index: index, HardwareAddr: mac, Up: true, LinkLocal: ourLinkLocal}}
}

func down(l observed) observed { l.Up = false; return l }

func TestAnnouncerFollowsItsLink(t *testing.T) {
	inWorld(t, func(w *world) {
		eth0 := link("eth0", 2, ourMAC)
		w.apply(on("eth0", vip4, vip6)...)
		w.expect("before links are known nothing is said of them", "eth0/IPv4 Opening 0/1", "eth0/IPv6 Opening 0/1")
		w.see()
		w.expect("without the interface", "eth0/IPv4 NoInterface 0/1", "eth0/IPv6 NoInterface 0/1")
		w.see(down(eth0))
		w.expect("while it is down", "eth0/IPv4 LinkDown 0/1", "eth0/IPv6 LinkDown 0/1")
		w.see(eth0)
		w.expect("when it is up", "eth0/IPv4 Answering 1/1", "eth0/IPv6 Answering 1/1")
		if s, _ := w.State(); !slices.Equal(s.Answering(vip4), []string{"eth0"}) || s.Answering(vip4.Next()) != nil {
			t.Errorf("State says %v is answered on %v", vip4, s.Answering(vip4))
		}
		w.after(time.Minute)
		four, six := w.port("eth0", IPv4), w.port("eth0", IPv6)
		if a, b := four.announced(), six.announced(); a != 12 || b != 6 {
			t.Errorf("%d and %d gratuitous frames, expected 12 and 6", a, b)
		}

		w.see(eth0)
		if w.port("eth0", IPv4) != four || four.announced() != 0 {
			t.Error("links that are the same again made a difference")
		}
		flapped := eth0
		flapped.epoch = 1
		w.see(flapped)
		w.after(time.Minute)
		if p := w.port("eth0", IPv4); p == four || !four.closed() || p.announced() != 12 {
			t.Error("a link that was down for a moment was not opened and announced anew")
		}
		moved := link("eth0", 2, otherMAC)
		moved.epoch = 1
		w.see(moved)
		w.after(time.Minute)
		p := w.port("eth0", IPv4)
		if dst, src, reply := readARP(t, p.sent[0]); dst != broadcast || src != otherMAC || MAC(reply.SenderHardwareAddr) != otherMAC {
			t.Errorf("a link with a new MAC announced %+v", reply)
		}
		w.see()
		if !p.closed() {
			t.Error("the port outlived its interface")
		}
		w.expect("when the interface is gone", "eth0/IPv4 NoInterface 0/1", "eth0/IPv6 NoInterface 0/1")
		w.apply()
		w.expect("when nothing is desired")
	})
}

func TestApplyDoesOnlyTheDifference(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC), link("eth1", 3, ourMAC))
		w.apply(on("eth0", vip4)...)
		w.after(time.Minute)
		p := w.port("eth0", IPv4)
		p.announced()
		filtered := p.filtered
		state, changed := w.State()

		w.apply(on("eth0", vip4)...)
		w.after(time.Minute)
		select {
		case <-changed:
			t.Error("the state changed")
		default:
		}
		if p.filtered != filtered || p.announced() != 0 || len(w.opened) != 1 {
			t.Error("applying the same again did something")
		}

		next := vip4.Next()
		w.apply(on("eth0", vip4, next)...)
		w.after(time.Minute)
		for _, f := range p.sent {
			if _, _, a := readARP(t, f); a.SenderIP != next {
				t.Errorf("announced %v, only %v is new", a.SenderIP, next)
			}
		}
		if n := p.announced(); n != 12 {
			t.Errorf("%d gratuitous frames, expected 12", n)
		}
		if now, _ := w.State(); reflect.DeepEqual(now, state) {
			t.Error("the state did not change")
		}

		filtered = p.filtered
		w.apply(append(on("eth0", vip4, next), on("eth1", vip4)...)...)
		w.after(time.Minute)
		if p.filtered != filtered || p.announced() != 0 || w.port("eth1", IPv4).announced() != 12 {
			t.Error("another interface made a difference on the first, or none on itself")
		}
	})
}

func TestAnswersAreWhatApplySays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		p := w.port("eth0", IPv4)
		ask := arpRequest(clientMAC, client4, vip4)
		if _, _, reply := readARP(t, p.ask(ask)); MAC(reply.SenderHardwareAddr) != ourMAC {
			t.Errorf("the answer is %+v", reply)
		}
		w.apply(Announcement{Address: vip4, Interfaces: []string{"eth0"}, HardwareAddr: otherMAC})
		p.announced()
		if _, src, reply := readARP(t, p.ask(ask)); MAC(reply.SenderHardwareAddr) != otherMAC || src != ourMAC {
			t.Errorf("the stand-in's answer is %+v from %v", reply, src)
		}
		w.after(time.Minute)
		if n := p.announced(); n != 0 {
			t.Errorf("a stand-in sent %d gratuitous frames", n)
		}

		// The owner is not let run between Apply and the question.
		w.Apply(on("eth0", vip4.Next()))
		if reply := p.ask(ask); reply != nil {
			t.Errorf("a withdrawn address was answered: % x", reply)
		}
		p.ask(arpRequest(clientMAC, client4, client4))
		c := w.Counters()
		if c.Answered[IPv4] != 2 || c.Dropped[IPv4][DropNotAnnounced] != 2 || c.Answered[IPv6] != 0 {
			t.Errorf("counters are %+v", c)
		}
	})
	t.Run("and counters outlive the port", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			w.port("eth0", IPv4).ask(arpRequest(clientMAC, client4, vip4))
			w.apply()
			if c := w.Counters(); c.Answered[IPv4] != 1 || c.Gratuitous[IPv4] != 2 || c.Dropped[IPv4][DropOverflow] != 1 {
				t.Errorf("counters are %+v", c)
			}
		})
	})
}

func TestWithdrawnAddressIsNotAnnouncedAnyMore(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		p := w.port("eth0", IPv4)
		if n := p.announced(); n != 2 {
			t.Errorf("%d gratuitous frames at once, expected 2", n)
		}
		w.apply(on("eth0", vip4.Next())...)
		w.after(time.Minute)
		for _, f := range p.sent {
			if _, _, a := readARP(t, f); a.SenderIP == vip4 {
				t.Fatal("announced after it was withdrawn")
			}
		}
	})
}

func TestGroupsFollowAddresses(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		twin := netip.MustParseAddr("2001:db8:0:1::100") // of the same group as vip6
		w.apply(on("eth0", vip6, twin)...)
		p := w.port("eth0", IPv6)
		group := solicitedNode(vip6)
		if solicitedNode(twin) != group || !p.joined[group] || len(p.joined) != 1 {
			t.Fatalf("joined %v, expected %v", p.joined, group)
		}
		w.apply(on("eth0", twin)...)
		if !p.joined[group] {
			t.Error("left a group that an address still needs")
		}
		w.apply(on("eth0", vip6.Next())...)
		if p.joined[group] || len(p.joined) != 1 {
			t.Errorf("joined %v", p.joined)
		}
		many := scattered(IPv6, 3*joinBatch)
		w.apply(on("eth0", many...)...)
		if len(p.joined) != len(many) {
			t.Errorf("joined %d groups, expected %d", len(p.joined), len(many))
		}
		w.expect("all are answered", fmt.Sprintf("eth0/IPv6 Answering %d/%d", len(many), len(many)))
	})
}

func TestUnsolicitedAdvertisementsComeFromTheLinkLocalAddressOfTheMoment(t *testing.T) {
	inWorld(t, func(w *world) {
		eth0 := link("eth0", 2, ourMAC)
		eth0.LinkLocal = netip.Addr{}
		w.see(eth0)
		w.apply(on("eth0", vip6)...)
		p := w.port("eth0", IPv6)
		if src, _, _ := readAdvertisement(t, p.sent[0]); src != vip6 {
			t.Errorf("without a link-local address it comes from %v", src)
		}
		p.announced()
		w.see(link("eth0", 2, ourMAC))
		w.after(500 * time.Millisecond)
		if src, _, _ := readAdvertisement(t, p.sent[0]); src != ourLinkLocal {
			t.Errorf("it comes from %v", src)
		}
		if w.port("eth0", IPv6) != p {
			t.Error("a new link-local address opened the port anew")
		}
	})
}

func TestFailures(t *testing.T) {
	s := segment{"eth0", IPv4}
	t.Run("what the kernel refuses is tried again at growing intervals", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.refuses(s, syscall.ENOBUFS)
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			w.expect("at first", "eth0/IPv4 Failed 0/1")
			if s, _ := w.State(); !strings.Contains(s.Segments[0].Error, "opening IPv4 socket on eth0") {
				t.Errorf("the error is %q", s.Segments[0].Error)
			}
			w.after(10 * time.Minute)
			w.refuses(s, nil)
			w.after(retryLast)
			w.expect("in the end", "eth0/IPv4 Answering 1/1")
			if lines := strings.Count(w.logged.String(), "\n"); lines > 3 {
				t.Errorf("%d lines were logged:\n%s", lines, w.logged.String())
			}
		})
	})
	t.Run("a change of the link is worth a try at once", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.refuses(s, syscall.ENOBUFS)
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			w.after(time.Minute)
			w.refuses(s, nil)
			w.see(link("eth0", 2, otherMAC))
			w.expect("after the change", "eth0/IPv4 Answering 1/1")
		})
	})
	t.Run("a link that goes down under the socket is waited for", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			w.refuses(s, syscall.ENETDOWN)
			w.port("eth0", IPv4).fail <- os.NewSyscallError("read", syscall.ENETDOWN)
			synctest.Wait()
			w.expect("before the kernel says so", "eth0/IPv4 LinkDown 0/1")
			w.after(retryFirst)
			w.expect("when the kernel says that it is up, and still", "eth0/IPv4 Failed 0/1")
			w.see(down(link("eth0", 2, ourMAC)))
			w.expect("when the kernel says that it is down", "eth0/IPv4 LinkDown 0/1")
			w.refuses(s, nil)
			w.see(link("eth0", 7, ourMAC))
			w.expect("when there is a new one", "eth0/IPv4 Answering 1/1")
		})
	})
	t.Run("a group that can't be joined fails its segment alone", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.refusesGroups(syscall.EINVAL)
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4, vip6)...)
			w.expect("both families", "eth0/IPv4 Answering 1/1", "eth0/IPv6 Failed 0/1")
		})
	})
	t.Run("without permission there is no use in going on", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.refuses(s, explain(os.NewSyscallError("socket", syscall.EPERM)))
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", vip4)...)
			select {
			case err := <-w.ended:
				if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
					t.Errorf("Run returned %v", err)
				}
			default:
				t.Error("Run goes on")
			}
		})
	})
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{syscall.EPERM, giveUp},
		{syscall.EACCES, giveUp},
		{errUnsupported, giveUp},
		{syscall.ENETDOWN, awaitLink},
		{syscall.ENODEV, awaitDevice},
		{syscall.ENXIO, awaitDevice},
		{syscall.ENOBUFS, tryAgain},
		{errors.New("anything else"), tryAgain},
	} {
		if got := judge(fmt.Errorf("opening: %w", os.NewSyscallError("bind", c.err))); got != c.want {
			t.Errorf("%v: got %v, expected %v", c.err, got, c.want)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	var got []time.Duration
	for failures := range 10 {
		got = append(got, retryDelay(failures+1))
	}
	want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second,
		8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second}
	if !slices.Equal(got, want) || retryDelay(1000) != retryLast {
		t.Errorf("got %v, expected %v", got, want)
	}
}

func TestAFlappingLinkIsLoggedTenTimesAMinuteAtMost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(on("eth0", vip4)...)
		eth0 := link("eth0", 2, ourMAC)
		for range 600 {
			w.see(eth0)
			w.see(down(eth0))
			w.after(100 * time.Millisecond)
		}
		for _, line := range []string{"answering on interface", "waiting for interface"} {
			if n := strings.Count(w.logged.String(), line); n == 0 || n > 10 {
				t.Errorf("%q was logged %d times in a minute", line, n)
			}
		}
	})
}

func TestLinksTellsOfChanges(t *testing.T) {
	inWorld(t, func(w *world) {
		links, changed := w.Links()
		if links != nil {
			t.Errorf("links are %v before anybody looked", links)
		}
		eth0 := link("eth0", 2, ourMAC)
		w.see(eth0)
		<-changed
		links, changed = w.Links()
		if len(links) != 1 || !links[0].Equal(eth0.Link) {
			t.Errorf("links are %v", links)
		}
		flapped := eth0
		flapped.epoch++
		w.see(flapped)
		select {
		case <-changed:
			t.Error("told of a change that nobody can see")
		default:
		}
		w.see(down(eth0))
		<-changed
	})
}

func TestWatchingLinksGoesOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.see(link("eth0", 2, ourMAC))
		w.apply(on("eth0", vip4)...)
		for range 600 {
			w.unseen <- syscall.EMFILE
			w.after(watchPause)
		}
		w.expect("links that were seen before the watch failed", "eth0/IPv4 Answering 1/1")
		w.see(link("eth1", 3, ourMAC))
		w.expect("links seen afterwards", "eth0/IPv4 NoInterface 0/1")
		if n := strings.Count(w.logged.String(), "cannot watch interfaces"); n == 0 || n > 100 {
			t.Errorf("logged %d lines in ten minutes", n)
		}
		w.unseen <- syscall.EPERM
		synctest.Wait()
		if err := <-w.ended; !errors.Is(err, os.ErrPermission) {
			t.Errorf("Run returned %v", err)
		}
	})
}
