package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLAN(t *testing.T) {
	l := Up(t, Options{Light: true, Nodes: 2, ProxyMode: "none"})
	ctx := t.Context()
	t.Run("the client learns who has an address", func(t *testing.T) {
		for _, n := range l.Nodes() {
			for _, a := range []netip.Addr{n.IPv4(), n.IPv6()} {
				who, err := l.WhoAnswers(ctx, a)
				if err != nil {
					t.Fatal(err)
				}
				if who.Node == nil || who.Node.Name != n.Name {
					t.Errorf("%s is %+v, want %s", a, who, n.Name)
				}
			}
		}
	})
	t.Run("everybody who answers is heard", func(t *testing.T) {
		n := l.Node("node1")
		_, err := l.AddHost(ctx, HostSpec{Name: "twin", Interfaces: []Interface{{Segment: "lan", Addresses: lanAddresses(firstNodePlace), MAC: "02:00:00:00:00:01"}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []netip.Addr{n.IPv4(), n.IPv6(), PoolV4.Addr(), PoolV6.Addr()} {
			found, err := l.AskLAN(ctx, a, 500*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range found {
				names = append(names, f.Host.Name)
			}
			slices.Sort(names)
			want := []string{"node1", "twin"}
			if PoolV4.Contains(a) || PoolV6.Contains(a) {
				want = nil
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s: %v answer, want %v", a, names, want)
			}
		}
		if err := l.Host("twin").PowerOff(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("nobody answers for an address that nobody has", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if who, err := l.WhoAnswers(short, PoolV4.Addr().Next()); err == nil {
			t.Errorf("%+v", who)
		}
	})
	t.Run("a silenced node keeps its carrier and is not heard", func(t *testing.T) {
		n := l.Node("node1")
		if err := n.Silence(); err != nil {
			t.Fatal(err)
		}
		if err := l.Client().Forget(n.IPv4()); err != nil {
			t.Fatal(err)
		}
		if carrier, err := n.Exec(ctx, "cat", "/sys/class/net/eth0/carrier"); err != nil || strings.TrimSpace(carrier) != "1" {
			t.Errorf("carrier %q, %v", carrier, err)
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if who, err := l.WhoAnswers(short, n.IPv4()); err == nil {
			t.Errorf("%+v", who)
		}
		if err := n.Heal(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.WhoAnswers(ctx, n.IPv4()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a host behind a router reaches the LAN", func(t *testing.T) {
		if err := l.AddSegment("far"); err != nil {
			t.Fatal(err)
		}
		near, far := netip.MustParsePrefix("10.99.0.2/16"), netip.MustParsePrefix("192.0.2.1/24")
		router, err := l.AddHost(ctx, HostSpec{Name: "router", Forward: true, Interfaces: []Interface{
			{Segment: "lan", Addresses: []netip.Prefix{near}},
			{Segment: "far", Addresses: []netip.Prefix{far}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		remote, err := l.AddHost(ctx, HostSpec{
			Name:       "remote",
			Interfaces: []Interface{{Segment: "far", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}}},
			Routes:     []Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: far.Addr()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Client().AddRoutes(Route{To: far.Masked(), Via: router.IPv4()}); err != nil {
			t.Fatal(err)
		}
		var listener net.Listener
		err = l.Client().Machine().InNetwork(func() (err error) {
			listener, err = net.Listen("tcp", "10.99.0.5:7777")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		c, err := remote.Dial(ctx, "tcp", "10.99.0.5:7777")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.LocalAddr().String(); !strings.HasPrefix(got, "192.0.2.7:") {
			t.Errorf("it comes from %s", got)
		}
		err = router.Start(ctx, Process{Name: "sleeper", Args: []string{"sleep", "1000"}, Restart: true})
		if err := errors.Join(err, router.PowerOff(), router.PowerOn(ctx)); err != nil {
			t.Fatal(err)
		}
		if s := router.Status(ctx); s.Power != "on" || s.Processes != "sleeper" {
			t.Errorf("after its power was cycled: %+v", s)
		}
		again, err := remote.Dial(ctx, "tcp", "10.99.0.5:7777")
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
		if err := router.Cut(); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if c, err := remote.Dial(short, "tcp", "10.99.0.5:7777"); err == nil {
			c.Close()
			t.Error("it goes on without the router")
		}
	})
}
