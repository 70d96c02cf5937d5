package crd_test

import (
	"encoding/json"
	"errors"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// The API server refuses by rules in CEL, our programs by functions in Go: on every row of the table they
// must be of one mind. What is taken must be readable, for one object that an informer can't decode hides
// all the others of its kind.
func TestGoReadsWhatTheAPIServerTakes(t *testing.T) {
	compared := 0
	for _, r := range rows {
		err := readAs(t, r)
		switch {
		case r.says == "" && err != nil:
			t.Errorf("%s/%s: the API server takes it, Go says: %v", r.kind, r.name, err)
		case err == nil && judgedByGo(r):
			t.Errorf("%s/%s: the API server refuses it, Go reads it", r.kind, r.name)
		}
		if judgedByGo(r) {
			compared++
		}
	}
	if compared < 50 {
		t.Errorf("only %d refusals were compared", compared)
	}
}

// judgedByGo tells the refused rows whose values Go parses too.
func judgedByGo(r row) bool {
	switch r.field {
	case "spec.addresses[]", "spec.excludeAddresses[]", "spec.communities[].value":
		return r.says != "Duplicate value" || r.field == "spec.addresses[]"
	case "spec.communities[]":
		// Which names are names, Go leaves to the API server: there is no such alias then.
		return r.says != "Duplicate value" && r.kind == "BGPAdvertisement" && r.says != "write one such as 64512:100" && r.says != "a name that a Community gives"
	}
	return false
}

// readAs decodes and parses a row as our programs would.
func readAs(t *testing.T, r row) error {
	t.Helper()
	text := r.spec
	if text == "" {
		text = "{}"
	}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	switch r.kind {
	case "IPAddressPool":
		spec := v1beta1.IPAddressPoolSpec{}
		if err := json.Unmarshal(data, &spec); err != nil {
			return err
		}
		if spec.ServiceAllocation != nil {
			if _, err := spec.ServiceAllocation.Audience(); err != nil {
				return err
			}
		}
		_, err := v1beta1.ParsePool(&spec)
		return err
	case "L2Advertisement":
		spec := v1beta1.L2AdvertisementSpec{}
		if err := json.Unmarshal(data, &spec); err != nil {
			return err
		}
		_, err := spec.Selection()
		return err
	case "BGPAdvertisement":
		spec := v1beta1.BGPAdvertisementSpec{}
		if err := json.Unmarshal(data, &spec); err != nil {
			return err
		}
		for _, c := range spec.Communities {
			// As far as this object can tell, any name may be one that a Community gives.
			if _, err := v1beta1.ParseCommunity(string(c), nil); err != nil && !errors.Is(err, v1beta1.ErrUnknownCommunity) {
				return err
			}
		}
		_, err := spec.Selection()
		return err
	case "BGPPeer":
		return json.Unmarshal(data, &v1beta1.BGPPeerSpec{})
	case "BFDProfile":
		return json.Unmarshal(data, &v1beta1.BFDProfileSpec{})
	case "Community":
		spec := v1beta1.CommunitySpec{}
		if err := json.Unmarshal(data, &spec); err != nil {
			return err
		}
		for _, c := range spec.Communities {
			if _, err := v1beta1.ParseCommunityValue(c.Value); err != nil {
				return err
			}
		}
		return nil
	}
	t.Fatalf("nobody reads a %s", r.kind)
	return nil
}
