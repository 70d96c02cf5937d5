package gossip

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var keyOne, keyTwo = Key{1}, Key{2}

// cluster is some speakers' gossip on a network in memory. Use it inside a bubble only.
type cluster struct {
	t     *testing.T
	net   *memnet
	peers []Peer
	nodes []*testNode
}

type testNode struct {
	*Gossip
	desired Desired
	stop    context.CancelFunc
	stopped chan struct{}
	logs    *lines
}

const testPort = 7956

func nodeName(i int) string { return fmt.Sprintf("node-%02d", i) }

func nodeAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i + 1)}) }

// newCluster starts n speakers that know of each other and all have keyOne.
func newCluster(t *testing.T, n int) *cluster {
	c := &cluster{t: t, net: newMemnet(), nodes: make([]*testNode, n)}
	for i := range n {
		c.peers = append(c.peers, Peer{Node: nodeName(i), Addr: nodeAddr(i)})
	}
	for i := range n {
		c.start(i, nil)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(i)
		}
		time.Sleep(10 * time.Second) // memberlist does not wait for its own probes
	})
	return c
}

// start starts speaker i; change may change what it desires.
func (c *cluster) start(i int, change func(*Desired)) *testNode {
	return c.startOn(i, netip.AddrPortFrom(nodeAddr(i), testPort), c.net.listen, change)
}

func (c *cluster) startOn(i int, at netip.AddrPort, listen func(Desired, *log.Logger) (wire, error), change func(*Desired)) *testNode {
	ctx, cancel := context.WithCancel(context.Background())
	n := &testNode{stop: cancel, stopped: make(chan struct{}), logs: &lines{}}
	n.Gossip = New(Options{Node: nodeName(i), Log: slog.New(slog.NewTextHandler(n.logs, nil))})
	n.listen = listen
	n.desired = Desired{
		Listen: at,
		Keys:   []Key{keyOne},
		Peers:  c.peers,
		Facts:  Facts{Build: "v" + nodeName(i), Started: time.Now(), Links: []Link{{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, byte(i)}, Up: true}}},
	}
	n.desired.Facts.Life = n.Life() // as gossip will say
	if change != nil {
		change(&n.desired)
	}
	n.Apply(n.desired)
	go func() {
		defer close(n.stopped)
		if err := n.Run(ctx); err != nil {
			c.t.Errorf("%s: %v", n.node, err)
		}
	}()
	c.nodes[i] = n
	return n
}

// stop ends speaker i without a word, as a crash does.
func (c *cluster) stop(i int) {
	if n := c.nodes[i]; n != nil {
		n.stop()
		<-n.stopped
		c.nodes[i] = nil
	}
}

// change changes what a speaker desires.
func (n *testNode) change(change func(*Desired)) {
	change(&n.desired)
	n.Apply(n.desired)
}

func (n *testNode) sees() Snapshot {
	s, _ := n.Snapshot()
	return s
}

func members(s Snapshot) string {
	var names []string
	for _, m := range s.Members {
		name := strings.TrimPrefix(m.Node, "node-")
		if !m.Known {
			name += "?"
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// await waits until the condition holds, and returns how long that took.
func (c *cluster) await(what string, within time.Duration, holds func() bool) time.Duration {
	c.t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) >= within {
			for _, n := range c.nodes {
				if n != nil {
					c.t.Logf("%s sees %q, missing %q, accounted %v", n.node, members(n.sees()), n.sees().Missing, n.sees().Accounted)
				}
			}
			c.t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

// all reports whether all running speakers see these members, as members prints them.
func (c *cluster) all(want string) func() bool {
	return func() bool {
		return !slices.ContainsFunc(c.nodes, func(n *testNode) bool { return n != nil && members(n.sees()) != want })
	}
}

func everybody(n int) string {
	var names []string
	for i := range n {
		names = append(names, strings.TrimPrefix(nodeName(i), "node-"))
	}
	return strings.Join(names, " ")
}

// lines keeps a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestSpeakersFindEachOther(t *testing.T) {
	for _, n := range []int{1, 2, 3, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, n)
				took := c.await("all see all, and what each says of itself", 2*time.Second, func() bool {
					return c.all(everybody(n))() && c.nodes[n-1].sees().Accounted
				})
				t.Logf("after %v", took)
				for _, sees := range c.nodes {
					for i, m := range sees.sees().Members {
						if m.Addr != nodeAddr(i) || !m.Facts.Equal(c.nodes[i].desired.Facts) {
							t.Errorf("%s sees %+v", sees.node, m)
						}
					}
				}
			})
		})
	}
}

func TestAPeerThatIsNotThereIsAccountedForSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.nodes[0].change(func(d *Desired) {
			d.Peers = append(d.Peers, Peer{"node-01", nodeAddr(1)}, Peer{"node-02", nodeAddr(2)})
		})
		took := c.await("accounted", 2*time.Second, func() bool { return c.nodes[0].sees().Accounted })
		// Called twice in vain, half a second apart; one call alone proves nothing.
		if took < redialInterval {
			t.Errorf("accounted for after %v already", took)
		}
		if got := c.nodes[0].sees().Missing; !slices.Equal(got, []string{"node-01", "node-02"}) {
			t.Errorf("missing %q", got)
		}
	})
}

func TestADeadSpeakerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		c.stop(1)
		t.Logf("after %v", c.await("noticed", 3*time.Second, c.all("00 02")))
		if got := c.nodes[0].sees().Missing; !slices.Equal(got, []string{"node-01"}) {
			t.Errorf("missing %q", got)
		}
		if logs := c.nodes[0].logs.String(); strings.Count(logs, `msg="speaker lost" peer=node-01`) != 1 {
			t.Errorf("logged:\n%s", logs)
		}
	})
}

// A planned stop is known at once.
func TestALeavingSpeakerIsGoneAtOnce(t *testing.T) {
	for _, n := range []int{2, 3, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, n)
				c.await("all see all", 2*time.Second, c.all(everybody(n)))
				left := make(chan time.Duration)
				start := time.Now()
				go func() {
					c.nodes[0].Leave(t.Context())
					left <- time.Since(start)
				}()
				rest := strings.TrimPrefix(everybody(n), "00 ")
				took := c.await("gone", 600*time.Millisecond, c.all(rest))
				t.Logf("all know after %v, Leave returns after %v", took, <-left)

				// It is called while it still listens, and must not come back for that.
				time.Sleep(3 * time.Second)
				if !c.all(rest)() {
					t.Errorf("came back: %q", members(c.nodes[1].sees()))
				}
			})
		})
	}
}

func TestLeaveWithNobodyThereReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.nodes[0].Leave(t.Context()) // perhaps before it listens
		c.await("running", time.Second, func() bool { return c.nodes[0].sees().Running })
		start := time.Now()
		c.nodes[0].Leave(t.Context())
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		c.nodes[0].Leave(t.Context())
	})
}

// A new life must not be taken for the old one: it has not settled, and its links may have changed.
func TestARestartedSpeakerIsANewOne(t *testing.T) {
	for _, row := range []struct {
		name  string
		pause time.Duration
		leave bool
	}{
		{"at once, before anybody noticed", 0, false},
		{"after it was noticed", 3 * time.Second, false},
		{"after it had left", 100 * time.Millisecond, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 4)
				c.nodes[1].change(func(d *Desired) { d.Facts.Serving = true })
				c.await("it serves", 2*time.Second, func() bool {
					return c.all(everybody(4))() && c.nodes[3].sees().Members[1].Facts.Serving
				})
				if row.leave {
					c.nodes[1].Leave(t.Context())
				}
				c.stop(1)
				time.Sleep(row.pause)
				c.start(1, func(d *Desired) { d.Facts.Build = "new" })
				c.await("all know the new one", 3*time.Second, func() bool {
					return c.all(everybody(4))() && !slices.ContainsFunc(c.nodes, func(n *testNode) bool {
						f := n.sees().Members[1].Facts
						return f.Build != "new" || f.Serving
					})
				})
			})
		})
	}
}

func TestChangedFactsAreKnownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 20)
		c.await("all see all", 2*time.Second, c.all(everybody(20)))
		c.nodes[7].change(func(d *Desired) {
			d.Facts.Serving = true
			d.Facts.Links = []Link{{Name: "eth0", Up: false}}
		})
		took := c.await("known", time.Second, func() bool {
			return !slices.ContainsFunc(c.nodes, func(n *testNode) bool {
				return !n.sees().Members[7].Facts.Equal(c.nodes[7].desired.Facts)
			})
		})
		if took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// Facts that no packet can carry come in parts.
func TestManyLinksTravelInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		var many []Link
		for i := range 200 {
			many = append(many, Link{Name: fmt.Sprintf("bond0.%d", i), Up: true,
				Prefixes: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.1.%d.0/24", i)), netip.MustParsePrefix("2001:db8::/64")}})
		}
		c.nodes[0].change(func(d *Desired) { d.Facts.Links = many })
		c.await("known", time.Second, func() bool {
			return len(c.nodes[1].sees().Members[0].Facts.Links) == 200 && len(c.nodes[2].sees().Members[0].Facts.Links) == 200
		})
		c.stop(2)
		c.await("noticed", 3*time.Second, c.all("00 01"))
		c.start(2, nil)
		c.await("known to one that comes later", 2*time.Second, func() bool {
			return c.all(everybody(3))() && len(c.nodes[2].sees().Members[0].Facts.Links) == 200
		})
	})
}

// memberlist alone never joins again what a partition has parted.
func TestAPartitionHeals(t *testing.T) {
	for _, length := range []time.Duration{3 * time.Second, 10 * time.Minute} {
		t.Run(length.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 5)
				c.await("all see all", 2*time.Second, c.all(everybody(5)))
				c.net.setGroup(nodeAddr(0), 1)
				c.net.setGroup(nodeAddr(1), 1)
				c.await("parted", 5*time.Second, func() bool {
					return members(c.nodes[0].sees()) == "00 01" && members(c.nodes[1].sees()) == "00 01" &&
						members(c.nodes[2].sees()) == "02 03 04" && members(c.nodes[4].sees()) == "02 03 04"
				})
				time.Sleep(length)
				c.net.setGroup(nodeAddr(0), 0)
				c.net.setGroup(nodeAddr(1), 0)
				t.Logf("after %v", c.await("whole again", time.Second, c.all(everybody(5))))
			})
		})
	}
}

func TestAMissingSpeakerThatIsSeenOtherwiseIsCalledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.net.setGroup(nodeAddr(0), 1)
		c.await("parted", 5*time.Second, func() bool { return members(c.nodes[0].sees()) == "00" && members(c.nodes[1].sees()) == "01" })
		most := time.Duration(0)
		for range 5 { // the calls of every half second come at any time
			time.Sleep(5*time.Second + 110*time.Millisecond)
			c.net.setGroup(nodeAddr(0), 0)
			c.nodes[0].Redial()
			most = max(most, c.await("whole again", time.Second, c.all(everybody(2))))
			c.net.setGroup(nodeAddr(0), 1)
			c.await("parted", 5*time.Second, func() bool { return members(c.nodes[0].sees()) == "00" && members(c.nodes[1].sees()) == "01" })
		}
		if most > 150*time.Millisecond {
			t.Errorf("takes up to %v", most)
		}
	})
}

func TestANodeWithANewAddressComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		moved := netip.MustParseAddr("10.0.99.1")
		peers := slices.Clone(c.peers)
		peers[1].Addr = moved
		for i, n := range c.nodes {
			n.change(func(d *Desired) {
				d.Peers = peers
				if i == 1 {
					d.Listen = netip.AddrPortFrom(moved, testPort)
				}
			})
		}
		c.await("back", 10*time.Second, func() bool {
			return c.all(everybody(3))() && c.nodes[0].sees().Members[1].Addr == moved && c.nodes[2].sees().Members[1].Addr == moved
		})
	})
}

// A speaker that listens again, be it elsewhere or not, has told the others before, starts a session, and is not
// said to serve in it until that was decided anew.
func TestListeningAgainIsAnotherSession(t *testing.T) {
	for _, row := range []struct {
		name string
		to   netip.Addr
	}{
		{"at the same address", nodeAddr(1)},
		{"at another address", netip.MustParseAddr("10.0.99.1")},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3)
				n := c.nodes[1]
				c.await("all see all", 2*time.Second, c.all(everybody(3)))
				n.change(func(d *Desired) { d.Facts.Serving, d.Session = true, n.sees().Session })
				serves := func() bool { return c.nodes[0].sees().Members[1].Facts.Serving }
				c.await("it serves", time.Second, serves)

				n.change(func(d *Desired) { d.Listen = netip.AddrPort{} })
				c.await("the others are told, and need not find out", 200*time.Millisecond, func() bool { return members(c.nodes[0].sees()) == "00 02" })
				c.await("it is closed", time.Second, func() bool { return !n.sees().Running && n.sees().Session == 0 })

				peers := slices.Clone(c.peers)
				peers[1].Addr = row.to
				for i, other := range c.nodes {
					other.change(func(d *Desired) {
						d.Peers = peers
						if i == 1 {
							d.Listen = netip.AddrPortFrom(row.to, testPort)
						}
					})
				}
				c.await("back", 10*time.Second, func() bool { return c.all(everybody(3))() && n.sees().Session == 2 })
				time.Sleep(time.Second)
				if serves() || n.sees().Members[1].Facts.Serving {
					t.Error("said to serve in a session that it was not decided in")
				}
				n.change(func(d *Desired) { d.Session = n.sees().Session })
				c.await("it serves again", time.Second, serves)
			})
		})
	}
}

func TestNothingHappensWithoutAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.stop(1)
		n := c.start(1, func(d *Desired) { d.Keys = nil })
		time.Sleep(time.Minute)
		if s := n.sees(); s.Running || s.Accounted || len(s.Members) > 0 {
			t.Errorf("sees %+v", s)
		}
		n.change(func(d *Desired) { d.Keys = []Key{keyOne} })
		c.await("all see all", 2*time.Second, c.all(everybody(2)))

		// Keys that go again change nothing: it does not fall back to plain text, nor fall silent.
		n.change(func(d *Desired) { d.Keys = nil })
		time.Sleep(10 * time.Second)
		if !c.all(everybody(2))() {
			t.Errorf("sees %q", members(n.sees()))
		}
	})
}

func TestASpeakerWithAnotherKeyIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.await("all see all", 2*time.Second, c.all(everybody(2)))
		c.stop(1)
		c.await("noticed", 3*time.Second, c.all("00"))
		n := c.start(1, func(d *Desired) { d.Keys = []Key{keyTwo} })
		time.Sleep(30 * time.Second)
		if !slices.Equal(n.sees().Missing, []string{"node-00"}) || members(c.nodes[0].sees()) != "00" {
			t.Errorf("they see %q and %q", members(c.nodes[0].sees()), members(n.sees()))
		}
	})
}

// The key is replaced in the Secret, and the speakers learn of it seconds apart: nobody is lost meanwhile.
func TestKeysAreReplacedWithoutAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		gap := make(chan struct{})
		watching, stop := context.WithCancel(t.Context())
		go func() {
			defer close(gap)
			for watching.Err() == nil {
				if !c.all(everybody(3))() {
					t.Errorf("a gap: %q %q %q", members(c.nodes[0].sees()), members(c.nodes[1].sees()), members(c.nodes[2].sees()))
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		for _, n := range c.nodes {
			n.change(func(d *Desired) { d.Keys = []Key{keyTwo} })
			time.Sleep(keySpread / 4)
		}
		time.Sleep(keySpread + keyLinger + 5*time.Second)
		stop()
		<-gap

		// The old key is good for nothing any more.
		c.stop(2)
		c.await("noticed", 3*time.Second, c.all("00 01"))
		c.start(2, nil)
		time.Sleep(10 * time.Second)
		if got := members(c.nodes[0].sees()); got != "00 01" {
			t.Errorf("with the old key one is still heard: %q", got)
		}
	})
}

func TestNoLinesInSteadyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.await("all see all", 2*time.Second, c.all(everybody(3)))
		before := c.nodes[0].logs.String()
		time.Sleep(10 * time.Minute)
		if more := strings.TrimPrefix(c.nodes[0].logs.String(), before); more != "" {
			t.Errorf("logged:\n%s", more)
		}
	})
}
