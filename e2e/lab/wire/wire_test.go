package wire

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/router"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// TestRouters has an FRR and a BIRD speak with each other, over a cable, BGP and BFD.
func TestRouters(t *testing.T) {
	a, b := NewHost(t, "a"), NewHost(t, "b")
	Connect(t, End{a, "eth0", Prefixes("192.0.2.1/24")}, End{b, "eth0", Prefixes("192.0.2.2/24")})
	frr := a.StartRouter(t, router.FRR, `
router bgp 65001
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 192.0.2.2 remote-as 65002
 neighbor 192.0.2.2 bfd
 neighbor 192.0.2.2 timers connect 1
 address-family ipv4 unicast
  network 198.51.100.1/32
`)
	bird := b.StartRouter(t, router.BIRD, `
router id 192.0.2.2;
protocol device {}
protocol kernel { ipv4 { export all; }; }
protocol bfd {}
protocol bgp frr {
  local as 65002;
  neighbor 192.0.2.1 as 65001;
  bfd on;
  connect delay time 1;
  error wait time 1, 1;
  ipv4 { import all; export none; };
}
`)
	t.Cleanup(func() {
		if t.Failed() {
			out, err := bird.Show(context.Background(), "show protocols all")
			t.Log(out, err)
		}
	})
	eventually(t, "BIRD has FRR's route", func() bool {
		out, err := bird.Show(t.Context(), "show route")
		return err == nil && strings.Contains(out, "198.51.100.1/32")
	})
	eventually(t, "BFD is up", func() bool {
		var peers []struct{ Status string }
		err := frr.ShowJSON(t.Context(), "show bfd peers json", &peers)
		return err == nil && len(peers) == 1 && peers[0].Status == "up"
	})
	if err := bird.Kill(t.Context(), router.Bird); err != nil {
		t.Fatal(err)
	}
	if err := bird.Revive(t.Context(), router.Bird); err != nil {
		t.Fatal(err)
	}
	if err := frr.Configure(t.Context(), "router bgp 65001\n address-family ipv4 unicast\n  network 198.51.100.2/32\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the revived BIRD has both routes", func() bool {
		out, err := bird.Show(t.Context(), "show route")
		return err == nil && strings.Contains(out, "198.51.100.1/32") && strings.Contains(out, "198.51.100.2/32")
	})
	if err := frr.Configure(t.Context(), "router bgp 65001\n nonsense\n"); err == nil {
		t.Error("nonsense in FRR's configuration is not told")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := frr.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}
