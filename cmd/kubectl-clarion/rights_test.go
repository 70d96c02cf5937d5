package main

import (
	"slices"
	"testing"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/doctor"
	"github.com/clarion-lb/clarion/config/rbac"
)

func TestWhatIsLackingIsToldOnceForEachThing(t *testing.T) {
	var got []doctor.Lack
	for _, r := range []rbac.Right{
		{Account: "clarion-controller", Verb: "get", Resource: "services"},
		{Account: "clarion-controller", Verb: "watch", Resource: "services"},
		{Account: "clarion-controller", Verb: "patch", Resource: "services", Subresource: "status"},
		{Account: "clarion-speaker", Verb: "watch", Resource: "services"},
		{Account: "clarion-controller", Verb: "create", Resource: "secrets", Namespaced: true},
		{Account: "clarion-controller", Verb: "get", Resource: "secrets", Name: "clarion-gossip", Namespaced: true},
		{Account: "clarion-speaker", Verb: "watch", Resource: "secrets", Name: "tor", Namespaced: true},
	} {
		got = lacks(got, r, "ours")
	}
	want := []doctor.Lack{
		{What: "ServiceAccount ours/clarion-controller may not get, watch services"},
		{What: "ServiceAccount ours/clarion-controller may not patch services/status"},
		{What: "ServiceAccount ours/clarion-speaker may not watch services"},
		{What: "ServiceAccount ours/clarion-controller may not create secrets in namespace ours", Minor: true},
		{What: "ServiceAccount ours/clarion-controller may not get secrets ours/clarion-gossip"},
		{What: "ServiceAccount ours/clarion-speaker may not watch secrets ours/tor", Secret: "tor"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestThePasswordsOfPeersAndOfTheirProfilesAreLookedFor(t *testing.T) {
	peer := v1beta1.BGPPeer{Spec: v1beta1.BGPPeerSpec{BFDProfile: "fast", PasswordSecret: &v1beta1.SecretReference{Name: "tor"}}}
	peer.Name = "tor"
	key := v1beta1.BFDKey{}
	key.PasswordSecret.Name = "bfd"
	var profiles []v1beta1.BFDProfile
	for _, name := range []string{"fast", "nobodys"} {
		one := v1beta1.BFDProfile{Spec: v1beta1.BFDProfileSpec{Authentication: &v1beta1.BFDAuthentication{Keys: []v1beta1.BFDKey{key}}}}
		one.Name = name
		profiles = append(profiles, one)
	}
	got := secretsOf([]v1beta1.BGPPeer{peer, peer}, profiles)
	if want := []secret{{"tor", "BGPPeer tor"}, {"bfd", "BFDProfile fast"}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
