package gossip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// How long it takes until all know that a node was cut off, on a network in memory. These are the figures in the
// package documentation; the bounds are those of its arithmetic.
func TestHowFastADeadNodeIsNoticed(t *testing.T) {
	for _, row := range []struct {
		nodes, cuts int
		most        time.Duration
	}{
		{2, 20, 2400 * time.Millisecond},
		{3, 40, 3200 * time.Millisecond},
		{10, 20, 4 * time.Second},
		{50, 2, 6 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d nodes", row.nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, row.nodes)
				c.await("all see all", 3*time.Second, c.all(everybody(row.nodes)))
				var took []time.Duration
				for range row.cuts {
					time.Sleep(5*time.Second + rand.N(time.Second))
					lost := rand.IntN(row.nodes)
					c.net.setCut(nodeAddr(lost), true)
					took = append(took, c.await("noticed by all", row.most, func() bool {
						return !slices.ContainsFunc(c.nodes, func(n *testNode) bool {
							return n != c.nodes[lost] && strings.Contains(members(n.sees()), fmt.Sprintf("%02d", lost))
						})
					}))
					c.net.setCut(nodeAddr(lost), false)
					c.await("back", 3*time.Second, c.all(everybody(row.nodes)))
				}
				slices.Sort(took)
				t.Logf("min %v, median %v, max %v of %d", took[0], took[len(took)/2], took[len(took)-1], len(took))
			})
		})
	}
}

// Loss of packets alone takes nobody for dead.
func TestLossIsNotDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5)
		c.await("all see all", 3*time.Second, c.all(everybody(5)))
		c.net.mu.Lock()
		c.net.loss = 0.1
		c.net.mu.Unlock()
		time.Sleep(10 * time.Minute)
		for _, n := range c.nodes {
			if logs := n.logs.String(); strings.Contains(logs, "speaker lost") {
				t.Errorf("%s:\n%s", n.node, logs)
			}
		}
	})
}

// What gossip costs a node does not go with the number of nodes.
func TestPacketsPerSecond(t *testing.T) {
	for _, nodes := range []int{3, 10, 30} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, nodes)
				c.await("all see all", 3*time.Second, c.all(everybody(nodes)))
				time.Sleep(10 * time.Second)
				before := c.net.packets()
				time.Sleep(30 * time.Second)
				rate := float64(c.net.packets()-before) / 30 / float64(nodes)
				t.Logf("each node sends %.1f packets a second", rate)
				if rate > 8 {
					t.Errorf("%.1f packets a second from each node", rate)
				}
			})
		})
	}
}
