package crd_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

const apiPage = "../../docs/reference/api.md"

func TestAPIPageTellsOfEveryKindAnnotationAndRefusedField(t *testing.T) {
	data, err := os.ReadFile(apiPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	wanted := []string{
		v1beta1.AnnotationAddressPool, v1beta1.AnnotationLoadBalancerIPs, v1beta1.AnnotationAllowSharedIP,
		v1beta1.AnnotationAssignedFromPool, v1beta1.AnnotationReleaseOrphans, v1beta1.MetalLBPrefix, v1beta1.MetalLBOldPrefix,
	}
	for _, crd := range loadCRDs(t) {
		wanted = append(wanted, fmt.Sprintf("| %s | `%s` |", crd.Spec.Names.Kind, crd.Spec.Names.ShortNames[0]))
	}
	wanted = append(wanted, "| BGPPeer `password` |") // refused by a rule of the spec
	walkParts(t, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if slices.ContainsFunc(schema.XValidations, func(v apiextensionsv1.ValidationRule) bool { return v.Rule == "false" }) {
			kind, field, _ := strings.Cut(path, ".spec.")
			wanted = append(wanted, fmt.Sprintf("| %s `%s` |", kind, field))
		}
	})
	for _, text := range wanted {
		if !strings.Contains(page, text) {
			t.Errorf("%s lacks %s", apiPage, text)
		}
	}
}
