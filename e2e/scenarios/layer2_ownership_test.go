package scenarios

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// TestLayer2Ownership is what a LAN client sees of addresses that move, and of those that must not. Four light nodes, with
// the back end on the first, and two dozen addresses of both families.
//
//	client ──── lan ──┬── node1 (back end)
//	                  ├── node2
//	                  ├── node3
//	                  └── node4
func TestLayer2Ownership(t *testing.T) {
	l := lab.Up(t, lab.Options{Nodes: 4, Light: true})
	s := &story{T: t, lab: l, ctx: t.Context()}
	s.must(stage.Run(s.ctx, l, func(line string) { t.Log(line) }))
	s.must(stage.Announce(s.ctx, l))
	s.must(stage.Serve(s.ctx, l, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	all := s.announced(18)
	s.sameOwners(all, s.owners(all)) // and one each

	for _, family := range []string{"IPv4", "IPv6"} {
		s.chapter("the owner is cut off: others answer in well under a second, and when it is back nothing moves, "+family, func(s *story) {
			owners := s.owners(all)
			node, held := s.victim(owners, family == "IPv4")
			watch := stage.StartWatch(s.ctx, l, held...)
			time.Sleep(300 * time.Millisecond)
			s.cut(node.Host)
			time.Sleep(3 * time.Second)
			seen, err := watch.Stop()
			s.must(err)
			for _, summary := range seen {
				s.Logf("%s: nobody answered for %v", summary.Target, summary.Gap)
				if summary.Gap == 0 || summary.Gap > time.Second {
					s.Errorf("%s: nobody answered for %v", summary.Target, summary.Gap)
				}
			}
			moved := s.owners(all)
			s.must(node.Heal())
			time.Sleep(time.Second)
			s.onlyOne(all)
			time.Sleep(4 * time.Second)
			s.sameOwners(all, moved)
		})
	}

	s.chapter("a node is split off, carrier and all, and comes back: one owner each within a second", func(s *story) {
		owners := s.owners(all)
		node, _ := s.victim(owners, true)
		s.must(node.Silence())
		time.Sleep(5 * time.Second)
		moved := s.owners(all)
		for a, owner := range moved {
			if owner == node.Name {
				s.Errorf("%s is answered by %s, which is split off", a, owner)
			}
			if owners[a] != node.Name && owner != owners[a] {
				s.Errorf("%s has moved from %s to %s, which is none of its business", a, owners[a], owner)
			}
		}
		s.must(node.Heal())
		time.Sleep(time.Second)
		s.onlyOne(all)
		time.Sleep(2 * time.Second)
		s.sameOwners(all, moved)
	})

	s.chapter("a speaker is stopped for five seconds: nothing moves, and every request is answered", func(s *story) {
		owners := s.owners(all)
		node, held := s.victim(owners, true)
		heard := s.askEach(oneOfEach(node, owners, held))
		s.must(node.Signal(s.ctx, stage.Speaker, unix.SIGSTOP))
		time.Sleep(5 * time.Second)
		s.must(node.Signal(s.ctx, stage.Speaker, unix.SIGCONT))
		time.Sleep(2 * time.Second)
		heard(node.Name)
		s.sameOwners(all, owners)
	})

	s.chapter("a speaker crashes and comes back: nothing moves, and every request is answered", func(s *story) {
		owners := s.owners(all)
		node, held := s.victim(owners, true)
		heard := s.askEach(oneOfEach(node, owners, held))
		s.must(node.Signal(s.ctx, stage.Speaker, unix.SIGKILL)) // it is started again
		time.Sleep(8 * time.Second)
		heard(node.Name)
		s.sameOwners(all, owners)
	})

	s.chapter("all speakers are restarted, one after the other: nothing moves, and no connection fails", func(s *story) {
		owners := s.owners(all)
		node, held := s.victim(owners, true)
		watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
		for _, n := range l.Nodes() {
			s.must(n.Stop(s.ctx, stage.Speaker, 30*time.Second))
			s.must(stage.StartSpeaker(s.ctx, l, n))
			s.speakerReady(n)
		}
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			if summary.Failures > 0 {
				s.Errorf("%s: %d of %d connections failed, over %v", summary.Target, summary.Failures, summary.Attempts, summary.Gap)
			}
		}
		time.Sleep(time.Second)
		s.sameOwners(all, owners)
	})

	s.chapter("the gossip's key is replaced while speakers restart: nothing moves, and no connection fails", func(s *story) {
		owners := s.owners(all)
		node, held := s.victim(owners, true)
		watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
		restart := func(n *lab.Node) {
			s.must(n.Stop(s.ctx, stage.Speaker, 30*time.Second))
			s.must(stage.StartSpeaker(s.ctx, l, n))
			s.speakerReady(n)
		}
		key := make([]byte, 32)
		_, err := rand.Read(key)
		s.must(err)
		replaced := time.Now()
		s.kubectl("-n", stage.Namespace, "patch", "secret", "clarion-gossip", "--patch",
			fmt.Sprintf(`{"stringData":{"keys":%q}}`, base64.StdEncoding.EncodeToString(key)))
		restart(node) // it begins with the new key alone, which the others do not use yet
		time.Sleep(time.Until(replaced.Add(11 * time.Second)))
		restart(l.Node("node1")) // when all do
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			if summary.Failures > 0 {
				s.Errorf("%s: %d of %d connections failed, over %v", summary.Target, summary.Failures, summary.Attempts, summary.Gap)
			}
		}
		for _, n := range l.Nodes() {
			s.eventually(10*time.Second, func() error { return hearsAll(s.ctx, n, len(l.Nodes())) })
		}
		s.sameOwners(all, owners)
	})

	s.chapter("a node is drained: its addresses move without a loss, and stay away", func(s *story) {
		owners := s.owners(all)
		node, held := s.victim(owners, true)
		watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
		time.Sleep(300 * time.Millisecond)
		s.kubectl("label", "node", node.Name, "clarion.dev/drain=")
		s.movedAway(all, node)
		time.Sleep(500 * time.Millisecond)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			// A connection that is open at the flip is bound to the old node by its connection tracking; a SYN is bound to none.
			s.Logf("%s: %d of %d connections failed, %d SYNs were sent again", summary.Target, summary.Failures, summary.Attempts, summary.Retransmitted)
			if summary.Failures > openAtTheFlip || summary.Retransmitted > 0 {
				s.Errorf("%s: %d of %d connections failed, %d SYNs were sent again", summary.Target, summary.Failures, summary.Attempts, summary.Retransmitted)
			}
		}
		moved := s.owners(all)
		s.kubectl("label", "node", node.Name, "clarion.dev/drain-")
		time.Sleep(3 * time.Second)
		s.sameOwners(all, moved)
	})

	s.chapter("a node is cordoned: its addresses move to those that are not; when all are, nothing moves", func(s *story) {
		owners := s.owners(all)
		node, _ := s.victim(owners, true)
		s.kubectl("cordon", node.Name)
		s.movedAway(all, node)
		s.kubectl("uncordon", node.Name)
		moved := s.owners(all)
		s.kubectl("cordon", "--selector=kubernetes.io/os=linux")
		time.Sleep(3 * time.Second)
		s.sameOwners(all, moved)
		s.kubectl("uncordon", "--selector=kubernetes.io/os=linux")
	})

	for _, taint := range []string{v1beta1.TaintToBeDeleted, v1beta1.TaintOutOfService} {
		s.chapter("a node has the taint "+strings.ReplaceAll(taint, "/", " ")+": its addresses move to others, and no connection fails", func(s *story) {
			owners := s.owners(all)
			node, held := s.victim(owners, true)
			watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
			time.Sleep(300 * time.Millisecond)
			s.kubectl("taint", "node", node.Name, taint+"=:NoSchedule")
			s.movedAway(all, node)
			seen, err := watch.Stop()
			s.must(err)
			for _, summary := range seen {
				if summary.Failures > openAtTheFlip {
					s.Errorf("%s: %d of %d connections failed: %v", summary.Target, summary.Failures, summary.Attempts, summary)
				}
			}
			s.kubectl("taint", "node", node.Name, taint+"-")
		})
	}

	s.chapter("the API server is away: who is cut off is replaced, and under failback Immediate given back its share when it is back", func(s *story) {
		s.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
			defer cancel()
			s.eventually(30*time.Second, func() error { // when the API server is back
				return l.ApplyYAML(ctx, advertisement("spec: {ipAddressPools: [lan]}"))
			})
		})
		s.apply(advertisement("spec: {ipAddressPools: [lan], failback: {policy: Immediate}}"))
		node, held := s.victim(s.even(all), true)
		s.cut(l.ControlPlane())
		s.cut(node.Host)
		s.movedAway(all, node)
		s.must(node.Heal())
		time.Sleep(time.Second)
		watch := stage.StartWatch(s.ctx, l, held...)
		s.even(all)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			if summary.Failures > openAtTheFlip || summary.Retransmitted > 0 {
				s.Errorf("%s: %d of %d connections failed, %d SYNs were sent again", summary.Target, summary.Failures, summary.Attempts, summary.Retransmitted)
			}
		}
	})

	s.chapter("ten per cent of all frames are lost for a minute: nothing moves", func(s *story) {
		owners := s.owners(all)
		for _, n := range l.Nodes() {
			s.lose(n.Host, 10)
		}
		time.Sleep(time.Minute)
		for _, n := range l.Nodes() {
			s.lose(n.Host, 0)
		}
		time.Sleep(time.Second)
		s.sameOwners(all, owners)
	})

	s.chapter("another host has the address: it is not announced, and the host's MAC is named", func(s *story) {
		taken := map[string]netip.Addr{"taken-v4": addressFor(200), "taken-v6": addressFor6(200)}
		printer, err := l.AddHost(s.ctx, lab.HostSpec{Name: "printer", Interfaces: []lab.Interface{{Segment: "lan", Addresses: []netip.Prefix{
			netip.PrefixFrom(taken["taken-v4"], lab.LANv4.Bits()), netip.PrefixFrom(taken["taken-v6"], lab.LANv6.Bits())}}}})
		s.must(err)
		mac, err := printer.Exec(s.ctx, "cat", "/sys/class/net/eth0/address")
		s.must(err)
		for name, address := range taken {
			s.wants(name, address)
		}
		for name, address := range taken {
			s.expectCondition(name, "Announced", "False AddressConflict")
			if got := s.condition(name, "Announced"); !strings.Contains(got, strings.TrimSpace(mac)) {
				s.Errorf("the condition %q does not name %s", got, mac)
			}
			answers, err := l.AskLAN(s.ctx, address, 300*time.Millisecond)
			s.must(err)
			if len(answers) != 1 || answers[0].Node != nil {
				s.Errorf("%v answer for the printer's address %s", answers, address)
			}
		}
		s.must(printer.Cut())
		for name := range taken {
			s.becomes(name, "True")
		}
	})

	s.chapter("a speaker stays silent for longer than it may: what its node has moves, and stays away", func(s *story) {
		node, _ := s.victim(s.owners(all), true)
		for _, n := range l.Nodes() {
			if n.Name != node.Name {
				s.must(n.Stop(s.ctx, stage.Speaker, 30*time.Second))
				s.must(stage.StartSpeaker(s.ctx, l, n, "--take-over-after=3s"))
				s.speakerReady(n)
			}
		}
		owners := s.owners(all)
		held := heldBy(owners, node, true) // the others would be taken over later by the one that was not started anew
		if len(held) == 0 {
			s.Fatalf("%s has no address any more: %v", node.Name, owners)
		}
		watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
		time.Sleep(300 * time.Millisecond)
		s.must(node.Signal(s.ctx, stage.Speaker, unix.SIGSTOP))
		s.movedAway(all, node)
		time.Sleep(500 * time.Millisecond)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			s.Log(summary)
			if summary.Failures > openAtTheFlip {
				s.Errorf("%s: %d of %d connections failed, over %v", summary.Target, summary.Failures, summary.Attempts, summary.Gap)
			}
		}
		moved := s.owners(all)
		s.must(node.Signal(s.ctx, stage.Speaker, unix.SIGCONT))
		time.Sleep(2 * time.Second)
		s.onlyOne(all)
		s.sameOwners(all, moved)
	})
}

// openAtTheFlip is how many of a watch's connections may be open when an address moves: one each 10 ms lives for about as
// long.
const openAtTheFlip = 3

// announced makes Services of both families in turn, and returns their addresses when all are announced.
func (s *story) announced(services int) (all []netip.Addr) {
	s.Helper()
	client, err := s.lab.Clientset()
	s.must(err)
	for i := range services {
		_, err := client.CoreV1().Services("default").Create(s.ctx, threeHundred(i), metav1.CreateOptions{})
		s.must(err)
	}
	s.kubectl("wait", "--for=condition=clarion.dev/Announced", "services", "--all", "--timeout=60s", "--field-selector=spec.type=LoadBalancer")
	list, err := client.CoreV1().Services("default").List(s.ctx, metav1.ListOptions{})
	s.must(err)
	for _, svc := range list.Items {
		for _, ingress := range svc.Status.LoadBalancer.Ingress {
			all = append(all, netip.MustParseAddr(ingress.IP))
		}
	}
	return all
}

// owners are the nodes that answer for addresses, by what is seen on the wire; each must have one.
func (s *story) owners(addresses []netip.Addr) map[netip.Addr]string {
	s.Helper()
	owners := map[netip.Addr]string{}
	for _, a := range addresses {
		s.eventually(3*time.Second, func() error {
			answers, err := s.lab.AskLAN(s.ctx, a, 60*time.Millisecond)
			if err != nil {
				return err
			}
			if len(answers) != 1 || answers[0].Node == nil {
				return fmt.Errorf("%s is answered by %v", a, answers)
			}
			owners[a] = answers[0].Node.Name
			return nil
		})
	}
	return owners
}

// movedAway waits until a node answers for no address any more, and others do.
func (s *story) movedAway(addresses []netip.Addr, node *lab.Node) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		for a, owner := range s.owners(addresses) {
			if owner == node.Name {
				return fmt.Errorf("%s is still on %s", a, node.Name)
			}
		}
		return nil
	})
}

// even waits until all nodes have as many addresses, but for one.
func (s *story) even(addresses []netip.Addr) (owners map[netip.Addr]string) {
	s.Helper()
	s.eventually(30*time.Second, func() error {
		owners = s.owners(addresses)
		loads := map[string]int{}
		for _, owner := range owners {
			loads[owner]++
		}
		least, most := len(addresses), 0
		for _, n := range s.lab.Nodes() {
			least, most = min(least, loads[n.Name]), max(most, loads[n.Name])
		}
		if most-least > 1 {
			return fmt.Errorf("the nodes have %v addresses", loads)
		}
		return nil
	})
	return owners
}

// onlyOne wants one node to answer for each address, now.
func (s *story) onlyOne(addresses []netip.Addr) {
	s.Helper()
	for _, a := range addresses {
		answers, err := s.lab.AskLAN(s.ctx, a, 60*time.Millisecond)
		for tries := 0; (errors.Is(err, context.DeadlineExceeded) || len(answers) == 0) && tries < 3; tries++ { // the lab was late, not the answer
			answers, err = s.lab.AskLAN(s.ctx, a, 300*time.Millisecond)
		}
		s.must(err)
		if len(answers) != 1 {
			s.Errorf("%s is answered by %d nodes: %v", a, len(answers), answers)
		}
	}
}

// sameOwners wants every address where it was.
func (s *story) sameOwners(addresses []netip.Addr, before map[netip.Addr]string) {
	s.Helper()
	for a, now := range s.owners(addresses) {
		if now != before[a] {
			s.Errorf("%s has moved from %s to %s", a, before[a], now)
		}
	}
	if s.Failed() {
		s.Logf("what the speakers say of moves:\n%s", s.moves())
	}
}

// victim is a node other than the first, which has the back end, that owns some addresses of a family.
func (s *story) victim(owners map[netip.Addr]string, v4 bool) (*lab.Node, []netip.Addr) {
	held := map[string][]netip.Addr{}
	for a, name := range owners {
		if a.Is4() == v4 && name != "node1" {
			held[name] = append(held[name], a)
		}
	}
	best := ""
	for name := range held {
		if best == "" || len(held[name]) > len(held[best]) || len(held[name]) == len(held[best]) && name < best {
			best = name
		}
	}
	return s.lab.Node(best), held[best]
}

// heldBy are the addresses of a family that a node owns.
func heldBy(owners map[netip.Addr]string, node *lab.Node, v4 bool) (held []netip.Addr) {
	for a, name := range owners {
		if a.Is4() == v4 && name == node.Name {
			held = append(held, a)
		}
	}
	return held
}

// cut has a host lose its links until it is healed, which it is when the chapter ends, whatever comes of it.
func (s *story) cut(h *lab.Host) {
	s.Helper()
	s.Cleanup(func() {
		if err := h.Heal(); err != nil {
			s.Error(err)
		}
	})
	s.must(h.Cut())
}

// oneOfEach is held, or its first few, and an address of the other family that the node has, if it has one.
func oneOfEach(node *lab.Node, owners map[netip.Addr]string, held []netip.Addr) []netip.Addr {
	some := slices.Clone(held[:min(len(held), 3)])
	for a, owner := range owners {
		if owner == node.Name && a.Is4() != held[0].Is4() {
			return append(some, a)
		}
	}
	return some
}

// askEach asks for an address of each family, until the result is called, which wants them to have been answered as a node's all along.
func (s *story) askEach(addresses []netip.Addr) (heard func(owner string)) {
	results := map[netip.Addr]func() []asked{}
	for _, a := range addresses {
		if a == addresses[0] || a.Is4() != addresses[0].Is4() {
			results[a] = s.ask(a)
		}
	}
	return func(owner string) {
		s.Helper()
		for a, result := range results {
			s.answeredThroughout(a, result(), owner)
		}
	}
}

// An asked is a request on the LAN and who answered it.
type asked struct {
	at time.Time
	by string // "" for nobody
}

// ask asks for an address again and again, until the result is called.
func (s *story) ask(a netip.Addr) func() []asked {
	ctx, stop := context.WithCancel(s.ctx)
	done := make(chan []asked)
	go func() {
		var all []asked
		for ctx.Err() == nil {
			at := time.Now()
			answers, err := s.lab.AskLAN(s.ctx, a, 40*time.Millisecond)
			if err != nil {
				break
			}
			by := ""
			for _, answer := range answers {
				if answer.Node != nil {
					by += answer.Node.Name
				}
			}
			all = append(all, asked{at, by})
		}
		done <- all
	}()
	return func() []asked { stop(); return <-done }
}

// answeredThroughout wants an address answered with one node's MAC, but for a moment.
func (s *story) answeredThroughout(a netip.Addr, all []asked, owner string) {
	s.Helper()
	var longest time.Duration
	last := all[0].at
	for _, q := range all {
		switch q.by {
		case owner:
			last = q.at
		case "":
			longest = max(longest, q.at.Sub(last))
		default:
			s.Errorf("%s was answered as %s's, which is %s's", a, q.by, owner)
		}
	}
	s.Logf("%s: asked %d times, unanswered for %v at most", a, len(all), longest)
	if longest > 800*time.Millisecond {
		s.Errorf("%s was unanswered for %v", a, longest)
	}
}

// speakerReady waits until a node's speaker says that it is.
func (s *story) speakerReady(n *lab.Node) {
	s.Helper()
	s.eventually(20*time.Second, func() error {
		c, err := n.Dial(s.ctx, "tcp", "127.0.0.1:7958")
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := fmt.Fprint(c, "GET /readyz HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		answer := make([]byte, 512)
		read, err := c.Read(answer)
		if err != nil {
			return err
		}
		if line := string(answer[:read]); !strings.Contains(line, " 200 ") {
			return fmt.Errorf("the speaker on %s says %q", n.Name, line)
		}
		return nil
	})
}

// lose has a host lose some of the frames that arrive, at random; 0 ends that.
func (s *story) lose(h *lab.Host, percent int) {
	s.Helper()
	if percent == 0 {
		_, err := h.Exec(s.ctx, "nft", "delete", "table", "netdev", "loss")
		s.must(err)
		return
	}
	_, err := h.Exec(s.ctx, "nft", fmt.Sprintf("table netdev loss { chain in { type filter hook ingress device eth0 priority 0; numgen random mod 100 < %d drop; }; }", percent))
	s.must(err)
}
