// Package rbac has what Clarion's programs are granted by the manifests beside it, which the chart has, too.
package rbac

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

//go:embed controller.yaml speaker.yaml
var manifests embed.FS

// A Right is one thing that a ServiceAccount may do.
type Right struct {
	// Account is the name of the ServiceAccount.
	Account string
	Verb    string
	Group   string
	// Resource and Subresource, which may be empty, are of the API group.
	Resource, Subresource string
	// Name of the one object that it is about; empty for all.
	Name string
	// Namespaced is whether it is granted in Clarion's own namespace alone.
	Namespaced bool
}

// Rights returns all that the programs are granted, in the order of the manifests.
func Rights() ([]Right, error) {
	var out []Right
	for _, account := range []string{"clarion-controller", "clarion-speaker"} {
		file := strings.TrimPrefix(account, "clarion-") + ".yaml"
		content, err := manifests.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, document := range strings.Split(string(content), "\n---\n") {
			var role rbacv1.ClusterRole // or a Role, which has the same shape
			if err := yaml.Unmarshal([]byte(document), &role); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			for _, rule := range role.Rules {
				out = append(out, rightsOf(account, rule, role.Kind == "Role")...)
			}
		}
	}
	return out, nil
}

func rightsOf(account string, rule rbacv1.PolicyRule, namespaced bool) (out []Right) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, full := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					resource, sub, _ := strings.Cut(full, "/")
					one := Right{Account: account, Verb: verb, Group: group, Resource: resource, Subresource: sub, Name: name, Namespaced: namespaced}
					if !slices.Contains(out, one) {
						out = append(out, one)
					}
				}
			}
		}
	}
	return out
}
