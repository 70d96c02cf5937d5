package layer2

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// awaitLinks waits for links, by name, that satisfy want.
func awaitLinks(t *testing.T, a *Announcer, what string, want func(links map[string]Link) bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		links, changed := a.Links()
		byName := make(map[string]Link)
		for _, l := range links {
			byName[l.Name] = l
		}
		if links != nil && want(byName) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waiting for %s: links are %+v", what, links)
		}
	}
}

func TestLinksAreFollowed(t *testing.T) {
	n, c := node(t), newHost(t)
	a := start(t)
	awaitLinks(t, a, "a first look", func(links map[string]Link) bool { _, lo := links["lo"]; return !lo })

	ours := wire(t, "cl0", n, c)[0]
	awaitLinks(t, a, "a link that is up", func(links map[string]Link) bool {
		l := links["cl0"]
		return l.Up && l.HardwareAddr == ours.mac() && l.Index == ours.link().Attrs().Index && len(l.Prefixes) == 0
	})
	source := ours.linkLocal()
	awaitLinks(t, a, "its link-local address", func(links map[string]Link) bool { return links["cl0"].LinkLocal == source })

	var prefixes []netip.Prefix
	for _, address := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		ours.addr(address)
		prefixes = append(prefixes, netip.MustParsePrefix(address).Masked())
		awaitLinks(t, a, "its network", func(links map[string]Link) bool { return slices.Equal(links["cl0"].Prefixes, prefixes) })
	}

	ours.setMAC(otherMAC)
	awaitLinks(t, a, "its new MAC", func(links map[string]Link) bool { return links["cl0"].HardwareAddr == otherMAC })

	ours.down()
	awaitLinks(t, a, "it to be down", func(links map[string]Link) bool { return !links["cl0"].Up })
	ours.up()
	awaitLinks(t, a, "it to be up", func(links map[string]Link) bool { return links["cl0"].Up })

	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "clbr"}}
	must(t, n.LinkAdd(bridge))
	t.Cleanup(func() { must(t, n.LinkDel(bridge)) })
	must(t, n.LinkSetUp(bridge))
	must(t, n.LinkSetMaster(ours.link(), bridge))
	awaitLinks(t, a, "the bridge in place of its port", func(links map[string]Link) bool {
		_, port := links["cl0"]
		return links["clbr"].Up && !port
	})
	must(t, n.LinkSetNoMaster(ours.link()))
	awaitLinks(t, a, "the port that is free again", func(links map[string]Link) bool { _, there := links["cl0"]; return there })

	must(t, n.LinkDel(ours.link()))
	awaitLinks(t, a, "the link to be gone", func(links map[string]Link) bool { _, there := links["cl0"]; return !there })
}

// Hundreds of pods that come and go at once may overflow the socket on which the
// kernel tells of them; in the end the list is right.
func TestLinksAreRightAfterAFlood(t *testing.T) {
	n, c := node(t), newHost(t)
	a := start(t)
	awaitLinks(t, a, "a first look", func(map[string]Link) bool { return true })
	ours := wire(t, "cl0", n, c)[0]
	before := cpuTime(t)
	for i := range 300 {
		ours.setMAC(MAC{2, 0, 0, 1, byte(i >> 8), byte(i)})
		ours.down()
		ours.up()
	}
	ours.setMAC(otherMAC)
	awaitLinks(t, a, "the last state", func(links map[string]Link) bool {
		return links["cl0"].HardwareAddr == otherMAC && links["cl0"].Up
	})
	t.Logf("901 changes took %v of CPU in all", cpuTime(t)-before)
}

// Nobody takes what the watch sees while the link goes down and up, so it may see
// no more than a link that is up before and after.
func TestLinkThatWasDownForAMomentHasAnotherEpoch(t *testing.T) {
	n, c := node(t), newHost(t)
	ours := wire(t, "cl0", n, c)[0]
	ctx, cancel := context.WithCancel(context.Background())
	seen, done := make(chan []observed), make(chan error)
	go func() { done <- watchLinks(ctx, seen) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watchLinks returned %v", err)
		}
	})
	next := func() observed {
		t.Helper()
		select {
		case links := <-seen:
			for _, l := range links {
				if l.Name == "cl0" {
					return l
				}
			}
			return observed{}
		case <-time.After(5 * time.Second):
			t.Fatal("nothing was seen for 5 s")
			return observed{}
		}
	}
	before := next()
	for !before.Up {
		before = next()
	}
	ours.down()
	ours.up()
	after := next()
	for !after.Up || after.epoch == before.epoch {
		after = next()
	}
	if after.same(before) {
		t.Errorf("before %+v, after %+v", before, after)
	}
}
