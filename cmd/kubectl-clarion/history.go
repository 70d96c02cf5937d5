package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

func (p *program) history() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:   "history NAMESPACE/NAME",
		Short: "Show what happened to a Service's addresses, and why",
		Long: `Show what happened to a Service's addresses, and why: given, moved, refused, announced from where. It is told by events, which the API server keeps for an hour
by default; of a Service that was deleted, too.`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: p.services,
		RunE: func(c *cobra.Command, args []string) error {
			namespace, name, err := p.service(args[0])
			if err != nil {
				return err
			}
			objects, err := p.objects()
			if err != nil {
				return err
			}
			return p.show(c.Context(), o, func(ctx context.Context) (printer, any, error) {
				var service corev1.Service
				key := client.ObjectKey{Namespace: namespace, Name: name}
				missing := objects.Get(ctx, key, &service)
				if missing != nil && !apierrors.IsNotFound(missing) {
					return nil, nil, missing
				}
				service.Name = name
				var l eventsv1.EventList
				if err := objects.List(ctx, &l, client.InNamespace(namespace)); err != nil {
					return nil, nil, err
				}
				ours := ofService(l.Items, &service)
				if len(ours) == 0 && missing != nil {
					return nil, nil, noService(key, missing)
				}
				return historyOf(time.Now(), ours), ours, nil
			})
		},
	}
	o.flags(c)
	return c
}

// service reads NAMESPACE/NAME, or NAME in the namespace of kubectl's context.
func (p *program) service(arg string) (namespace, name string, err error) {
	namespace, name, both := strings.Cut(arg, "/")
	if !both {
		name = namespace
		if namespace, _, err = p.config.ToRawKubeConfigLoader().Namespace(); err != nil {
			return "", "", err
		}
	}
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("%q is no Service: write NAMESPACE/NAME", arg)
	}
	return namespace, name, nil
}

func historyOf(now time.Time, events []eventsv1.Event) view.Table {
	t := view.Table{Columns: []view.Column{{Name: "AGO"}, {Name: "WHAT"}, {Name: "BY", Wide: true}, {Name: "MESSAGE"}},
		Empty: "There are no events of this Service any more."}
	byTime(events)
	for _, e := range events {
		what := view.Cell{Text: e.Reason}
		if e.Type == corev1.EventTypeWarning {
			what.Mood = view.Bad
		}
		t.Rows = append(t.Rows, []view.Cell{{Text: view.Ago(now, lastOf(e))}, what, {Text: e.ReportingInstance}, {Text: e.Note}})
	}
	return t
}

func byTime(events []eventsv1.Event) {
	slices.SortStableFunc(events, func(a, b eventsv1.Event) int { return cmp.Compare(lastOf(a).UnixNano(), lastOf(b).UnixNano()) })
}

// lastOf is when an event last happened.
func lastOf(e eventsv1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	if !e.EventTime.IsZero() {
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
