package scenarios

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/e2e/stage"
)

// drainAndReboot is what is done to a node for a new kernel, while a client connects: its addresses have gone elsewhere before it does, and
// don't come back with it.
func drainAndReboot(s *story) {
	addresses := s.serve(stage.Web{Name: "web", FamilyPolicy: "RequireDualStack"})
	s.reach(addresses...)
	node := s.owner(addresses[0])
	s.evacuate(node.Name) // what becomes of connections to Pods that end is not the addresses' business
	s.reach(addresses...)
	watch := stage.StartWatch(s.ctx, s.lab, addresses...)
	time.Sleep(300 * time.Millisecond)
	s.kubectl("drain", node.Name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
	var moved []string
	s.eventually(10*time.Second, func() (err error) {
		moved, err = whoAnswers(s, addresses)
		for i, name := range moved {
			if name == node.Name {
				return fmt.Errorf("%s is still on %s, which is drained", addresses[i], name)
			}
		}
		return err
	})
	s.must(node.PowerOff())
	time.Sleep(2 * time.Second)
	s.must(node.PowerOn(s.ctx))
	s.must(node.WaitReady(s.ctx))
	s.kubectl("uncordon", node.Name)
	s.must(stage.WaitInstalled(s.ctx, s.lab))
	time.Sleep(2 * time.Second)
	seen, err := watch.Stop()
	s.must(err)
	for _, summary := range seen {
		s.Log(summary)
		if summary.Failures > openAtTheFlip {
			s.Errorf("%d of %d connections failed: %v", summary.Failures, summary.Attempts, summary)
		}
	}
	now, err := whoAnswers(s, addresses)
	s.must(err)
	for i, name := range now {
		if name != moved[i] {
			s.Errorf("%s has moved from %s to %s, because %s is back", addresses[i], moved[i], name, node.Name)
		}
	}
}

// speakersRestart is an update of the DaemonSet, under which nothing moves.
func speakersRestart(s *story) {
	addresses := s.serve(stage.Web{Name: "web", FamilyPolicy: "RequireDualStack"})
	s.reach(addresses...)
	before, err := whoAnswers(s, addresses)
	s.must(err)
	watch := stage.StartWatch(s.ctx, s.lab, addresses...)
	s.kubectl("-n", stage.Namespace, "rollout", "restart", "daemonset/clarion-speaker")
	s.must(stage.WaitInstalled(s.ctx, s.lab))
	seen, err := watch.Stop()
	s.must(err)
	for _, summary := range seen {
		s.Log(summary)
		if summary.Longest > stage.AttemptTimeout {
			s.Errorf("a rolling update of the speakers left a gap: %s", summary)
		}
	}
	s.eventually(5*time.Second, func() error {
		after, err := whoAnswers(s, addresses)
		if err == nil && !slices.Equal(after, before) {
			err = fmt.Errorf("they were answered by %v, and are by %v", before, after)
		}
		return err
	})
	s.reach(addresses...)
}

// whoAnswers returns the one node that answers for each address on the LAN.
func whoAnswers(s *story, addresses []netip.Addr) ([]string, error) {
	var names []string
	for _, a := range addresses {
		answers, err := s.lab.AskLAN(s.ctx, a, 200*time.Millisecond)
		if err != nil {
			return nil, err
		}
		if len(answers) != 1 || answers[0].Node == nil {
			return nil, fmt.Errorf("%s is answered by %v", a, answers)
		}
		names = append(names, answers[0].Node.Name)
	}
	return names, nil
}
