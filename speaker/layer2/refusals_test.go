package layer2

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// refuse makes joining the group of an address fail, or succeed again.
func (p *fakePort) refuse(a netip.Addr, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses[solicitedNode(a)] = err
}

func TestAnAddressWhoseGroupIsRefusedFailsAlone(t *testing.T) {
	first, bad, last := vip6, vip6.Next(), vip6.Next().Next()
	failures := func(w *world) []Failure {
		s, _ := w.State()
		return s.Segments[0].Failures
	}
	// inTrouble is a world in which bad is refused beside first, which is answered.
	inTrouble := func(t *testing.T, story func(w *world, p *fakePort)) {
		inWorld(t, func(w *world) {
			w.see(link("eth0", 2, ourMAC))
			w.apply(on("eth0", first)...)
			w.after(time.Minute)
			p := w.port("eth0", IPv6)
			p.announced()
			p.refuse(bad, syscall.EINVAL)
			w.apply(on("eth0", first, bad, last)...)
			w.expect("with one address refused", "eth0/IPv6 Answering 2/3")
			story(w, p)
		})
	}
	t.Run("the others are answered and announced, and State tells", func(t *testing.T) {
		inTrouble(t, func(w *world, p *fakePort) {
			if s, _ := w.State(); len(s.Answering(first)) != 1 || len(s.Answering(bad)) != 0 || len(s.Answering(last)) != 1 {
				t.Errorf("state is %+v", s)
			}
			if f := failures(w); len(f) != 1 || f[0].Address != bad || !strings.Contains(f[0].Error, "invalid argument") {
				t.Errorf("failures are %v", f)
			}
			w.after(time.Hour)
			w.expect("an hour later", "eth0/IPv6 Answering 2/3")
			w.Reannounce()
			w.after(time.Minute)
			if slices.ContainsFunc(p.sent, func(f []byte) bool { _, is := claimed(f); return is == bad }) {
				t.Error("an address was announced that is not listened for")
			}
			if n := p.announced(); n != 6+2 || p.closed() {
				t.Errorf("%d gratuitous frames, expected 8", n)
			}
			if n := strings.Count(w.logged.String(), "cannot answer for some addresses"); n != 1 {
				t.Errorf("logged %d lines:\n%s", n, w.logged.String())
			}
		})
	})
	t.Run("it is tried again until it is answered", func(t *testing.T) {
		inTrouble(t, func(w *world, p *fakePort) {
			w.after(10 * time.Minute)
			p.announced()
			p.refuse(bad, nil)
			w.after(retryLast)
			w.expect("when it is no longer refused", "eth0/IPv6 Answering 3/3")
			w.after(time.Minute)
			if n := p.announced(); n != 6 || failures(w) != nil {
				t.Errorf("%d gratuitous frames, expected 6; failures are %v", n, failures(w))
			}
		})
	})
	t.Run("it is forgotten when it is withdrawn", func(t *testing.T) {
		inTrouble(t, func(w *world, p *fakePort) {
			w.apply(on("eth0", first)...)
			w.expect("without it", "eth0/IPv6 Answering 1/1")
			p.refuse(bad, nil)
			w.after(time.Hour)
			if len(p.joined) != 1 || failures(w) != nil {
				t.Errorf("joined %v, failures are %v", p.joined, failures(w))
			}
		})
	})
	t.Run("a link that is gone fails the segment all the same", func(t *testing.T) {
		inTrouble(t, func(w *world, p *fakePort) {
			p.refuse(bad, syscall.ENODEV)
			w.refuses(segment{"eth0", IPv6}, syscall.ENODEV)
			time.Sleep(retryFirst)
			synctest.Wait()
			w.expect("when the interface is gone", "eth0/IPv6 NoInterface 0/3")
		})
	})
}

// claimed reads who is announced by an advertisement.
func claimed(frame []byte) (MAC, netip.Addr) {
	return MAC(frame[nsOptions+2:]), netip.AddrFrom16([16]byte(frame[nsTarget:]))
}
