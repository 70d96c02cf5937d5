package layer2

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// holds gives the host an address, as one that was there before.
func (i iface) holds(address netip.Addr) {
	i.t.Helper()
	i.addr(netip.PrefixFrom(address, address.BitLen()).String())
}

// gives takes the address from the host.
func (i iface) gives(address netip.Addr) {
	i.t.Helper()
	a, err := netlink.ParseAddr(netip.PrefixFrom(address, address.BitLen()).String())
	must(i.t, err)
	must(i.t, i.AddrDel(i.link(), a))
}

func awaitConflict(t *testing.T, a *Announcer, address netip.Addr, want Conflict) {
	t.Helper()
	awaitState(t, a, fmt.Sprintf("the conflict %+v", want), func(s State) bool {
		for _, c := range s.Conflicts(address) {
			if c.Since.IsZero() {
				return false
			}
			if c.Since = want.Since; c == want {
				return true
			}
		}
		return false
	})
}

// An assignment has a second (IPv4) or two and a half (IPv6) in all until its first answer.
func TestAFreeAddressIsAnsweredInTime(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	eventually(t, "the links to be seen", func() bool { links, _ := a.Links(); return links != nil })
	for vip, limit := range map[netip.Addr]time.Duration{vip4: 700 * time.Millisecond, vip6: 2 * time.Second} {
		tap := theirs.tap()
		began := time.Now()
		a.Apply(claim("cl0", ConflictEnforce, vip))
		tap.until("the first announcement of "+vip.String(), func(frame []byte) bool {
			_, is := claims(frame, vip)
			return is
		})
		took := time.Since(began)
		t.Logf("%v: first announced after %v", vip, took.Round(time.Millisecond))
		if took > limit || took < longest(vip)-60*time.Millisecond {
			t.Errorf("%v was announced after %v", vip, took)
		}
		tap.resolve(theirs.mac(), vip)
	}
}

func TestALinuxHostThatHasTheAddressKeepsIt(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	for _, vip := range bothFamilies {
		theirs.holds(vip)
	}
	a := start(t)
	tap := theirs.tap()
	a.Apply(claim("cl0", ConflictEnforce, bothFamilies...))
	for _, vip := range bothFamilies {
		awaitConflict(t, a, vip, Conflict{Address: vip, Kind: ForeignHost, MAC: theirs.mac(), Withheld: true})
	}
	if frames, err := tap.within(300*time.Millisecond, func(frame []byte) bool {
		for _, vip := range bothFamilies {
			if mac, is := claims(frame, vip); is && mac != theirs.mac() {
				return true
			}
		}
		return false
	}); err == nil {
		t.Errorf("it was announced: %x", frames[len(frames)-1])
	}
	for _, vip := range bothFamilies {
		theirs.gives(vip)
	}
	awaitAnswering(t, a, "cl0", bothFamilies...)
	if s, _ := a.State(); len(s.Conflicts(vip4))+len(s.Conflicts(vip6)) > 0 {
		t.Errorf("conflicts are told still: %+v", s)
	}
}

// A host that is another node's kernel with the address on an interface, as kube-proxy has it in
// IPVS mode without strictARP.
func TestKubeProxyThatAnswersARPIsTold(t *testing.T) {
	n, c := node(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	lo, err := c.LinkByName("lo")
	must(t, err)
	(iface{c, lo.Attrs().Name}).holds(vip4)
	a := start(t)
	a.SetKnown([]MAC{theirs.mac()})
	a.Apply(claim("cl0", ConflictEnforce, vip4))
	awaitAnswering(t, a, "cl0", vip4)
	awaitConflict(t, a, vip4, Conflict{Address: vip4, Kind: KubeProxyAnswersARP, MAC: theirs.mac()})
}

// A router with proxy ARP, as Linux is one: it answers for all that it has another way to.
func TestALinuxRouterWithProxyARPIsIgnored(t *testing.T) {
	n, c, far := node(t), newHost(t), newHost(t)
	_, theirs := connect(t, "cl0", n, 1, c, 2)
	ends := wire(t, "cl1", c, far)
	ends[0].addr("198.51.100.1/24")
	c.sysctl("net/ipv4/conf/all/forwarding", "1")
	c.sysctl("net/ipv4/conf/cl0/proxy_arp", "1")
	for _, delay := range []string{"0", "80"} {
		t.Run("proxy_delay="+delay, func(t *testing.T) {
			c.sysctl("net/ipv4/neigh/cl0/proxy_delay", delay)
			vip := netip.MustParseAddr("198.51.100.77")
			a := start(t)
			a.Apply(claim("cl0", ConflictEnforce, vip))
			awaitAnswering(t, a, "cl0", vip)
			awaitState(t, a, "the proxy to be named", func(s State) bool {
				return len(s.Segments) == 1 && len(s.Segments[0].Proxies) == 1 && s.Segments[0].Proxies[0] == theirs.mac()
			})
			if s, _ := a.State(); len(s.Conflicts(vip)) > 0 {
				t.Errorf("conflicts are %+v", s.Conflicts(vip))
			}
		})
	}
}

func TestALinuxHostThatTakesTheAddressIsDefendedAgainst(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	a := start(t)
	a.Apply(on("cl0", vip4))
	awaitAnswering(t, a, "cl0", vip4)
	c.sysctl("net/ipv4/conf/cl0/arp_notify", "1")
	eventually(t, "the first rounds to be over", func() bool { return a.Counters().Gratuitous[IPv4] >= 6 })
	time.Sleep(50 * time.Millisecond)
	tap := theirs.tap()
	theirs.holds(vip4)
	// arp_notify applies when an interface comes up: here, the new address speaks by asking.
	theirs.tap().send(appendARPAnnouncement(nil, theirs.mac(), vip4))
	tap.until("a defence", func(frame []byte) bool {
		mac, is := claims(frame, vip4)
		return is && mac == ours.mac() && MAC(frame[:6]) == broadcast
	})
	awaitConflict(t, a, vip4, Conflict{Address: vip4, Kind: ForeignHost, MAC: theirs.mac()})
}

// Routers, and hosts that asked lately, get an ordinary request, which nobody may ignore.
func TestRoutersAndAskersAreToldByRequests(t *testing.T) {
	n, c := node(t), newHost(t)
	ours, theirs := connect(t, "cl0", n, 1, c, 2)
	link := ours.link().Attrs().Index
	for _, gw := range []string{"192.0.2.2", "2001:db8::2"} {
		must(t, n.RouteAdd(&netlink.Route{LinkIndex: link, Gw: netip.MustParseAddr(gw).AsSlice()}))
	}
	a := start(t)
	eventually(t, "the routers to be seen", func() bool {
		links, _ := a.Links()
		for _, l := range links {
			if l.Name == "cl0" {
				return len(l.Routers) == 2
			}
		}
		return false
	})
	// The client asks while this node stands by.
	standby := on("cl0", bothFamilies...)
	for i := range standby {
		standby[i].Standby = true
	}
	a.Apply(standby)
	tap := theirs.tap()
	asker := MAC{2, 0, 0, 0, 0, 0x44}
	eventually(t, "the askers to be known", func() bool {
		for _, vip := range bothFamilies {
			tap.ask(asker, vip)
		}
		return len(a.Askers("cl0", vip4)) > 0 && len(a.Askers("cl0", vip6)) > 0
	})
	a.Apply(on("cl0", bothFamilies...))
	var router4, router6, asker4, asker6 bool
	tap.until("a request to each router and each asker", func(frame []byte) bool {
		switch {
		case binary.BigEndian.Uint16(frame[12:]) == etherTypeARP:
			_, _, p := readARP(t, frame)
			if p.Operation == arp.OperationRequest && p.SenderIP == vip4 && p.TargetIP == client4 {
				router4 = router4 || MAC(frame[:6]) == broadcast
				asker4 = asker4 || MAC(frame[:6]) == asker
			}
		case len(frame) >= nsOptions+8 && frame[ipv6NextHeader] == protocolICMPv6 && frame[icmpv6Type] == 135:
			source, target := netip.AddrFrom16([16]byte(frame[ipv6Source:])), netip.AddrFrom16([16]byte(frame[nsTarget:]))
			if source == vip6 && target == client6 && MAC(frame[nsOptions+2:]) == ours.mac() {
				router6 = router6 || frame[0] == 0x33
				asker6 = asker6 || MAC(frame[:6]) == asker
			}
		}
		return router4 && router6 && asker4 && asker6
	})
}

// The process is stopped while clients ask: for over a second, and what they asked is of no interest any
// more; briefly, and they get their answer.
func TestAStoppedProcess(t *testing.T) {
	for _, c := range []struct {
		pause time.Duration
		holds bool
	}{{1500 * time.Millisecond, true}, {500 * time.Millisecond, false}} {
		t.Run(c.pause.String(), func(t *testing.T) {
			n, h := node(t), newHost(t)
			_, theirs := connect(t, "cl0", n, 1, h, 2)
			child := n.startChild(t, "hold", announceTask{Interface: "cl0", Addresses: bothFamilies})
			child.read(t) // it answers
			tap := theirs.tap()
			for _, vip := range bothFamilies {
				tap.resolve(theirs.mac(), vip)
			}
			must(t, child.cmd.Process.Signal(unix.SIGSTOP))
			eventually(t, "the process to be stopped", func() bool {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child.cmd.Process.Pid))
				must(t, err)
				return strings.Contains(string(stat), ") T ")
			})
			for _, vip := range bothFamilies {
				tap.ask(theirs.mac(), vip)
			}
			time.Sleep(c.pause)
			must(t, child.cmd.Process.Signal(unix.SIGCONT))
			for _, vip := range bothFamilies {
				tap.ask(theirs.mac(), vip)
			}
			got := 0
			_, _ = tap.within(300*time.Millisecond, func(frame []byte) bool {
				for _, vip := range bothFamilies {
					if _, is := claims(frame, vip); is && MAC(frame[:6]) == theirs.mac() {
						got++
					}
				}
				return false
			})
			if want := map[bool]int{true: 0, false: 4}[c.holds]; got != want {
				t.Errorf("%d answers to four requests, expected %d", got, want)
			}
			must(t, child.cmd.Process.Signal(unix.SIGUSR1)) // what the speaker does
			for _, vip := range bothFamilies {
				tap.resolve(theirs.mac(), vip)
			}
		})
	}
}

// hold announces and holds after a gap, until SIGUSR1 says that it is awake.
func hold(in io.Reader, out io.Writer) error {
	var task announceTask
	if err := json.NewDecoder(in).Decode(&task); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	a := New(Options{HoldAfterGap: true})
	a.Apply(on(task.Interface, task.Addresses...))
	go func() {
		for state, changed := a.State(); ; state, changed = a.State() {
			if len(state.Answering(task.Addresses[0])) > 0 && len(state.Answering(task.Addresses[1])) > 0 {
				break
			}
			<-changed
		}
		_, _ = out.Write([]byte("!"))
		for range signals {
			a.Awake()
		}
	}()
	return a.Run(context.Background())
}

// A childProcess is a test binary that goes on in a role.
type childProcess struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func (h *host) startChild(t *testing.T, role string, task any) *childProcess {
	t.Helper()
	p := &childProcess{}
	h.in(func() error {
		p.cmd = exec.Command("/proc/self/exe")
		p.cmd.Env = append(os.Environ(), childEnv+"="+role)
		p.cmd.Stderr = os.Stderr
		in, err := p.cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return err
		}
		p.out = bufio.NewReader(out)
		if err := p.cmd.Start(); err != nil {
			return err
		}
		return json.NewEncoder(in).Encode(task)
	})
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	return p
}

// read waits for the child to say something.
func (p *childProcess) read(t *testing.T) {
	t.Helper()
	_, err := p.out.ReadByte()
	must(t, err)
}
