package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/view"
)

// versions are those of all parts.
type versions struct {
	Plugin     string         `json:"plugin"`
	Controller string         `json:"controller,omitempty"`
	Speakers   map[string]int `json:"speakers,omitempty"` // how many have each
	Kubernetes string         `json:"kubernetes,omitempty"`
	Unseen     []string       `json:"unseen,omitempty"`
}

func (p *program) version() *cobra.Command {
	c := p.viewOf("version", "Show which version each part is of", "Show which version each part is of: this plugin, the controller's image, the speakers as they say themselves, and Kubernetes.",
		func(ctx context.Context, c client.Client) (printer, any, error) {
			v := versions{Plugin: version, Speakers: map[string]int{}}
			cluster, err := p.look(ctx, c)
			if err != nil {
				v.Unseen = append(v.Unseen, err.Error())
			}
			v.Unseen = append(v.Unseen, slices.DeleteFunc(cluster.Unseen, func(u string) bool {
				return !strings.HasPrefix(u, "Speakers") && !strings.HasPrefix(u, "the controller's Deployment")
			})...)
			if d := cluster.Controller; d != nil && len(d.Spec.Template.Spec.Containers) > 0 {
				v.Controller = d.Spec.Template.Spec.Containers[0].Image
			}
			for _, s := range cluster.Speakers {
				v.Speakers[s.Status.Version]++
			}
			if config, err := p.client(); err == nil {
				if d, err := discovery.NewDiscoveryClientForConfig(config); err == nil {
					if server, err := d.ServerVersion(); err == nil {
						v.Kubernetes = server.GitVersion
					}
				}
			}
			return v, v, nil
		})
	return c
}

// Print prints the versions.
func (v versions) Print(w io.Writer, s view.Style) error {
	t := view.Table{Columns: []view.Column{{Name: "PART"}, {Name: "VERSION"}}}
	row := func(part, text string, mood view.Mood) {
		if text != "" {
			t.Rows = append(t.Rows, []view.Cell{{Text: part}, {Text: text, Mood: mood}})
		}
	}
	row("kubectl-clarion", v.Plugin, view.Plain)
	row("controller", v.Controller, view.Plain)
	mood := view.Plain
	if len(v.Speakers) > 1 {
		mood = view.Doubtful // an upgrade is under way
	}
	var said []string
	for _, version := range slices.Sorted(maps.Keys(v.Speakers)) {
		name := version
		if name == "" {
			name = "not said yet"
		}
		said = append(said, fmt.Sprintf("%s (%d)", name, v.Speakers[version]))
	}
	row("speakers", strings.Join(said, ", "), mood)
	row("Kubernetes", v.Kubernetes, view.Plain)
	for _, u := range v.Unseen {
		row("Not seen", u, view.Doubtful)
	}
	return t.Print(w, s)
}
