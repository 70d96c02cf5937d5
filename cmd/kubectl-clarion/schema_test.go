package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestFieldsThatAnOlderCRDLacksAreFound: of the CRDs as they are nothing is missing, and of one without a field that field.
func TestFieldsThatAnOlderCRDLacksAreFound(t *testing.T) {
	for kind, shape := range shapes {
		plural := strings.ToLower(kind) + "s"
		if kind == "Community" {
			plural = "communities"
		}
		content, err := os.ReadFile("../../config/crd/clarion.dev_" + plural + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema openAPI `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		now := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		if missing := without(kind, shape, now); len(missing) > 0 || len(now.Properties) == 0 {
			t.Errorf("%s lacks %v", kind, missing)
		}
		switch kind {
		case "IPAddressPool":
			delete(now.Properties["spec"].Properties, "quota")
			delete(now.Properties["spec"].Properties["serviceAllocation"].Properties, "fallback")
			if missing := without(kind, shape, now); !slices.Equal(missing, []string{"IPAddressPool.spec.serviceAllocation.fallback", "IPAddressPool.spec.quota"}) {
				t.Errorf("an older pool lacks %v", missing)
			}
		case "Speaker":
			delete(now.Properties["status"].Properties["bgp"].Properties["sessions"].Items.Properties, "lastError")
			if missing := without(kind, shape, now); !slices.Equal(missing, []string{"Speaker.status.bgp.sessions[].lastError"}) {
				t.Errorf("an older Speaker lacks %v", missing)
			}
		}
	}
}
