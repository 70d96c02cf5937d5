package crd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/docs"
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

func TestTheYAMLOfEveryPageApplies(t *testing.T) {
	c := server(t)
	pages, err := docs.Pages("../..")
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clarion-system"}}
	if err := c.Create(context.Background(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	applied := 0
	for _, page := range pages {
		for _, block := range page.YAML() {
			decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(block.Text), 4096)
			for {
				o := &unstructured.Unstructured{}
				if err := decoder.Decode(o); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Errorf("%s: %v", block.Where, err)
					break
				}
				applied++
				if refusals := apply(t, c, o); len(refusals) > 0 {
					t.Errorf("%s: %s %s is refused: %v", block.Where, o.GetKind(), o.GetName(), refusals)
				}
			}
		}
	}
	if applied < 20 {
		t.Errorf("only %d objects were found", applied)
	}
}
