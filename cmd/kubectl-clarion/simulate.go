package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
	"github.com/clarion-lb/clarion/speaker/inspect"
)

func (p *program) simulate() *cobra.Command {
	c := &cobra.Command{Use: "simulate", Short: "Say who would take what, before anything happens", Args: cobra.NoArgs}
	c.AddCommand(
		p.simulateEvent(inspect.Drain, "Say who would take a node's addresses if it were drained",
			"Say who would take a node's addresses if it got the label clarion.dev/drain. Its Pods are taken to stay where they are."),
		p.simulateEvent(inspect.Loss, "Say who would take a node's addresses if it were lost",
			"Say who would take a node's addresses if it were lost, and its Pods with it: that Kubernetes would start them elsewhere is not reckoned with."))
	return c
}

func (p *program) simulateEvent(e inspect.Event, short, long string) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: string(e) + " NODE", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: p.nodes,
		Long: long + `

A running speaker works it out, asked by port-forward, from what is the case now: the decisions are those that would be made then. Where several nodes are
equally well placed, a loss goes to the deputies that all have agreed on; a drain to the first of them that is among the best, else what is told is a guess.

The exit code is 1 where a Service would be announced nowhere.`,
		RunE: func(c *cobra.Command, args []string) error {
			objects, err := p.objects()
			if err != nil {
				return err
			}
			well := true
			err = p.show(c.Context(), o, func(ctx context.Context) (printer, any, error) {
				speakers, err := p.liveSpeakers(ctx, objects)
				if err != nil {
					return nil, nil, errors.New(p.unseenLive(err))
				}
				s, err := simulated(ctx, speakers, e, args[0])
				switch {
				case errors.Is(err, inspect.ErrUnknown):
					err = fmt.Errorf("the speakers know of no node %s: see kubectl get nodes", args[0])
				case err != nil:
					err = errors.New(p.unseenLive(err))
				}
				well = !slices.ContainsFunc(s.Moves, func(m inspect.Move) bool { return len(m.Unserved) > 0 })
				return prediction(s), s, err
			})
			if err == nil && !well {
				return errUnhealthy
			}
			return err
		},
	}
	o.flags(c)
	return c
}

// simulated asks speakers until one answers, and not the one of the node that would be lost if another can. The error is the first one's.
func simulated(ctx context.Context, speakers inspector, e inspect.Event, node string) (inspect.Simulation, error) {
	by := slices.DeleteFunc(speakers.Nodes(), func(n string) bool { return n == node })
	by = by[:min(mostAsked, len(by))]
	if slices.Contains(speakers.Nodes(), node) {
		by = append(by, node)
	}
	var first error
	for _, n := range by {
		out, err := speakers.Simulate(ctx, n, e, node)
		if err == nil || errors.Is(err, inspect.ErrUnknown) {
			return out, err
		}
		first = cmp.Or(first, err)
	}
	return inspect.Simulation{}, first
}

// prediction prints what a simulation came to.
type prediction inspect.Simulation

func (s prediction) Print(w io.Writer, style view.Style) error {
	what := map[inspect.Event]string{inspect.Drain: "drained", inspect.Loss: "lost"}[s.Event]
	unserved := 0
	takes := map[string]int{}
	t := view.Table{Columns: []view.Column{{Name: "ADDRESS"}, {Name: "SERVICES"}, {Name: "GOES TO"}, {Name: "NOTE"}}, Empty: "The node announces nothing: nothing would change."}
	for _, m := range s.Moves {
		to, note := view.Cell{Text: m.To}, []string{}
		switch {
		case m.Stays:
			to = view.Cell{Text: s.Node, Mood: view.Doubtful}
			note = append(note, "stays: no other node is better placed")
		case m.To == "" && len(m.Advertised) == 0:
			to = view.Cell{Text: "nobody", Mood: view.Bad}
		case m.To == "":
			to = view.Cell{Text: "-"}
		}
		if m.To != "" {
			takes[m.To]++
		}
		if len(m.Advertised) > 0 {
			note = append(note, "advertised by BGP from "+strings.Join(m.Advertised, ", "))
		}
		for _, name := range slices.Sorted(maps.Keys(m.Unserved)) {
			note = append(note, name+" would be announced nowhere: "+m.Unserved[name])
			unserved++
		}
		t.Rows = append(t.Rows, []view.Cell{{Text: m.Address.String()}, {Text: strings.Join(m.Services, ", ")}, to, {Text: strings.Join(note, "; ")}})
	}
	if err := t.Print(w, style); err != nil {
		return err
	}
	var shares []string
	for _, n := range slices.Sorted(maps.Keys(takes)) {
		shares = append(shares, fmt.Sprintf("%s %d", n, takes[n]))
	}
	_, err := fmt.Fprintf(w, "\nIf node %s were %s: it answers for %d addresses and advertises %d by BGP; new owners: %s; announced nowhere: %d Services. Worked out by the speaker of node %s.\n",
		s.Node, what, s.Owned, s.Advertised, orNone(strings.Join(shares, ", ")), unserved, s.By)
	return err
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
