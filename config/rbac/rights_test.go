package rbac

import (
	"slices"
	"testing"
)

func TestTheRightsAreThoseOfTheManifests(t *testing.T) {
	all, err := Rights()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Right{
		{Account: "clarion-controller", Verb: "watch", Resource: "services"},
		{Account: "clarion-controller", Verb: "patch", Group: "clarion.dev", Resource: "ipaddresspools", Subresource: "status"},
		{Account: "clarion-controller", Verb: "update", Group: "coordination.k8s.io", Resource: "leases", Name: "clarion-controller", Namespaced: true},
		{Account: "clarion-speaker", Verb: "list", Group: "discovery.k8s.io", Resource: "endpointslices"},
		{Account: "clarion-speaker", Verb: "watch", Resource: "secrets", Name: "clarion-gossip", Namespaced: true},
	} {
		if !slices.Contains(all, want) {
			t.Errorf("no %+v", want)
		}
	}
	for _, r := range all {
		if r.Resource == "secrets" && r.Verb != "create" && r.Name == "" {
			t.Errorf("Secrets by no name: %+v", r)
		}
	}
}
