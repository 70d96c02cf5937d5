package scenarios

import (
	"os"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// revisionVariable names the revision that TestMixedVersions upgrades from.
const revisionVariable = "CLARION_UPGRADE_FROM"

// TestMixedVersions rolls a cluster from the speakers of another revision to those of this one, and back, one node after the other, while
// a client connects. Halfway, when they are as many of each, a node is lost.
func TestMixedVersions(t *testing.T) {
	revision := os.Getenv(revisionVariable)
	if revision == "" {
		t.Skip("builds another revision: say " + revisionVariable + "=REVISION, such as HEAD~1")
	}
	l := lab.Up(t, lab.Options{Nodes: 4, Light: true})
	s := &story{T: t, lab: l, ctx: t.Context()}
	progress := func(line string) { t.Log(line) }
	former, err := stage.BuildRevision(s.ctx, l, revision, progress)
	s.must(err)
	s.must(stage.Run(s.ctx, l, progress))
	s.must(stage.Announce(s.ctx, l))
	s.must(stage.Serve(s.ctx, l, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	roll := func(s *story, n *lab.Node, directory string) {
		s.Helper()
		s.must(n.Stop(s.ctx, stage.Speaker, 30*time.Second))
		s.must(stage.StartSpeakerOf(s.ctx, l, n, directory))
		s.speakerReady(n)
	}
	for _, n := range l.Nodes() {
		roll(s, n, former)
	}
	all := s.announced(18)
	time.Sleep(3 * time.Second) // by then there are deputies

	rolled := func(to string, nodes ...*lab.Node) func(*story) {
		return func(s *story) {
			owners := s.owners(all)
			node, held := s.victim(owners, true)
			watch := stage.StartWatch(s.ctx, l, oneOfEach(node, owners, held)...)
			for _, n := range nodes {
				roll(s, n, to)
			}
			time.Sleep(time.Second)
			seen, err := watch.Stop()
			s.must(err)
			for _, summary := range seen {
				if summary.Failures > 0 {
					s.Errorf("%s: %d of %d connections failed, over %v", summary.Target, summary.Failures, summary.Attempts, summary.Gap)
				}
			}
			s.sameOwners(all, owners)
		}
	}
	lost := func(s *story) {
		node, held := s.victim(s.owners(all), true)
		watch := stage.StartWatch(s.ctx, l, held...)
		time.Sleep(300 * time.Millisecond)
		s.must(node.Cut())
		time.Sleep(3 * time.Second)
		seen, err := watch.Stop()
		s.must(err)
		for _, summary := range seen {
			s.Logf("%s: nobody answered for %v", summary.Target, summary.Gap)
			if summary.Gap > time.Second {
				s.Errorf("%s: nobody answered for %v", summary.Target, summary.Gap)
			}
		}
		moved := s.owners(all)
		s.must(node.Heal())
		time.Sleep(4 * time.Second)
		s.sameOwners(all, moved)
	}
	nodes := l.Nodes()
	s.chapter("half of the nodes are upgraded: nothing moves, and no connection fails", rolled("bin", nodes[0], nodes[2]))
	s.chapter("a node is lost while there are two versions: others answer in well under a second", lost)
	s.chapter("the other half is upgraded: nothing moves", rolled("bin", nodes[1], nodes[3]))
	s.chapter("half is taken back to the former version: nothing moves", rolled(former, nodes[3], nodes[1]))
	s.chapter("a node is lost on the way back", lost)
	s.chapter("all have been taken back: nothing moves", rolled(former, nodes[0], nodes[2]))
}
