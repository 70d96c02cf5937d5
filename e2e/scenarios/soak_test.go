package scenarios

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// soakVariable says for how long TestSoak watches; without it the test is skipped.
const soakVariable = "CLARION_SOAK"

// longStory is a cluster with thirty addresses, and for how long it is to be watched; the test is skipped where that is not said.
func longStory(t *testing.T, usual string) (s *story, length time.Duration, all []netip.Addr) {
	t.Helper()
	if os.Getenv(soakVariable) == "" {
		t.Skip("a long test: say " + soakVariable + "=" + usual)
	}
	length, err := time.ParseDuration(os.Getenv(soakVariable))
	if err != nil {
		t.Fatal(err)
	}
	s = &story{T: t, lab: lab.Up(t, lab.Options{Nodes: 4, Light: true}), ctx: t.Context()}
	s.must(stage.Run(s.ctx, s.lab, func(line string) { t.Log(line) }))
	s.must(stage.Announce(s.ctx, s.lab))
	s.must(stage.Serve(s.ctx, s.lab, stage.Web{Name: "web", On: []string{"node1"}, NoService: true}))
	return s, length, s.announced(30)
}

// TestSoak wants no address to move while no node is lost, whatever else happens: every core is busy for a minute, a
// tenth of all frames is lost for ten minutes, and nothing at all happens for as long as is said.
func TestSoak(t *testing.T) {
	s, length, all := longStory(t, "1h")
	first := s.owners(all)

	part := func(name string, tell func(*story)) {
		s.Run(name, func(t *testing.T) {
			s := &story{T: t, lab: s.lab, ctx: t.Context()}
			tell(s)
			s.sameOwners(all, first)
			s.noMoves()
		})
	}
	part("every core is busy for a minute", func(s *story) {
		ctx, stop := context.WithTimeout(s.ctx, time.Minute)
		defer stop()
		for range 2 * runtime.NumCPU() {
			go exec.CommandContext(ctx, "sh", "-c", "while :; do :; done").Run() //nolint:errcheck // ends when it is killed
		}
		<-ctx.Done()
		time.Sleep(5 * time.Second)
	})
	part("a tenth of all frames is lost for ten minutes", func(s *story) {
		for _, n := range s.lab.Nodes() {
			s.lose(n.Host, 10)
		}
		s.watchFor(min(10*time.Minute, length), all)
		for _, n := range s.lab.Nodes() {
			s.lose(n.Host, 0)
		}
		time.Sleep(time.Second)
	})
	part("nothing happens", func(s *story) { s.watchFor(length, all) })
}

// TestLongSplit splits one node off for ten minutes, or for as long as is said if that is less: each side has an owner for everything by then, and
// gossip has long since given the others up. A second after it heals there is one owner each again.
func TestLongSplit(t *testing.T) {
	s, length, all := longStory(t, "10m")
	node, _ := s.victim(s.owners(all), true)
	s.must(node.Silence())
	time.Sleep(min(10*time.Minute, length))
	moved := s.owners(all)
	for a, owner := range moved {
		if owner == node.Name {
			s.Errorf("%s is answered by %s, which is split off", a, owner)
		}
	}
	s.must(node.Heal())
	time.Sleep(time.Second)
	s.onlyOne(all)
	time.Sleep(5 * time.Second)
	s.sameOwners(all, moved)
}

// watchFor has the LAN's client ask for every address, again and again.
func (s *story) watchFor(length time.Duration, all []netip.Addr) {
	s.Helper()
	asked, unanswered := 0, 0
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(time.Second) {
		for _, a := range all {
			answers, err := s.lab.AskLAN(s.ctx, a, 60*time.Millisecond)
			if err != nil {
				continue // the lab was late, not the answer
			}
			asked++
			if len(answers) == 0 {
				unanswered++
			}
			if len(answers) > 1 {
				s.Errorf("%s is answered by %v", a, answers)
			}
		}
	}
	s.Logf("asked %d times, unanswered within 60 ms: %d", asked, unanswered)
}

// noMoves wants nobody to have told of a move.
func (s *story) noMoves() {
	s.Helper()
	if out := s.moves(); out != "" {
		s.Errorf("events tell of moves:\n%s", out)
	}
}

// moves is what events tell of moves.
func (s *story) moves() string {
	s.Helper()
	return strings.TrimSpace(s.kubectl("get", "events", "--all-namespaces", "--field-selector", "reason="+string(v1beta1.ReasonMoved),
		"-o", `jsonpath={range .items[*]}{.eventTime} {.reportingInstance} {.regarding.name} {.note}{.message}{"\n"}{end}`))
}
