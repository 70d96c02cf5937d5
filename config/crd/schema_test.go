// Package crd_test holds the generated CRDs to their promises: what a schema says about itself here,
// what a real API server makes of it in refusals_test.go.
package crd_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// loadCRDs reads the generated files beside this test.
func loadCRDs(t *testing.T) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	files, err := filepath.Glob("clarion.dev_*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs found: %v", err)
	}
	var crds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(data, crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		crds = append(crds, crd)
	}
	return crds
}

// walk visits every node of a schema that a client writes or reads: all of spec and status.
func walk(path string, schema *apiextensionsv1.JSONSchemaProps, visit func(path string, schema *apiextensionsv1.JSONSchemaProps)) {
	visit(path, schema)
	names := make([]string, 0, len(schema.Properties))
	for name := range schema.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		child := schema.Properties[name]
		walk(path+"."+name, &child, visit)
	}
	if schema.Items != nil {
		walk(path+"[]", schema.Items.Schema, visit)
	}
	if schema.AdditionalProperties != nil {
		walk(path+"{}", schema.AdditionalProperties.Schema, visit)
	}
}

// walkParts visits spec and status of every CRD.
func walkParts(t *testing.T, visit func(path string, schema *apiextensionsv1.JSONSchemaProps)) {
	t.Helper()
	for _, crd := range loadCRDs(t) {
		for _, part := range []string{"spec", "status"} {
			schema, ok := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties[part]
			if !ok && !(crd.Spec.Names.Kind == "Speaker" && part == "spec") {
				t.Errorf("%s has no %s", crd.Spec.Names.Kind, part)
			}
			if ok {
				walk(crd.Spec.Names.Kind+"."+part, &schema, visit)
			}
		}
	}
}

func TestKindsAreWhatUsersAreTold(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		kind, v := crd.Spec.Names.Kind, crd.Spec.Versions
		if crd.Spec.Scope != apiextensionsv1.ClusterScoped {
			t.Errorf("%s is not cluster-scoped", kind)
		}
		if !slices.Contains(crd.Spec.Names.Categories, "clarion") {
			t.Errorf("%s is not in the category clarion", kind)
		}
		if len(crd.Spec.Names.ShortNames) != 1 || slices.Contains(crd.Spec.Names.ShortNames, crd.Spec.Names.Singular) {
			t.Errorf("%s wants one short name, other than its singular: %v", kind, crd.Spec.Names.ShortNames)
		}
		if len(v) != 1 || v[0].Name != "v1beta1" || v[0].Subresources == nil || v[0].Subresources.Status == nil {
			t.Errorf("%s wants one version, v1beta1, with a status subresource", kind)
		}
		if !slices.ContainsFunc(v[0].AdditionalPrinterColumns, func(c apiextensionsv1.CustomResourceColumnDefinition) bool {
			return c.Name == "Ready" && c.Priority == 0
		}) {
			t.Errorf("kubectl get does not show whether a %s is Ready", kind)
		}
	}
}

func TestKustomizationsListEveryFile(t *testing.T) {
	for _, directory := range []string{".", "../samples"} {
		data, err := os.ReadFile(filepath.Join(directory, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var kustomization struct{ Resources []string }
		if err := yaml.Unmarshal(data, &kustomization); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(filepath.Join(directory, "*.yaml"))
		for _, file := range files {
			name := filepath.Base(file)
			if name != "kustomization.yaml" && !slices.Contains(kustomization.Resources, name) {
				t.Errorf("%s/kustomization.yaml does not list %s", directory, name)
			}
		}
		if len(kustomization.Resources) != len(files)-1 {
			t.Errorf("%s/kustomization.yaml lists %v, but there are %v", directory, kustomization.Resources, files)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	walkParts(t, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		if !strings.HasSuffix(path, "[]") && !strings.HasSuffix(path, "{}") && len(schema.Description) < 10 {
			t.Errorf("%s has no description", path)
		}
	})
}

// What has no bound makes CEL rules cost more than the API server allows, and objects bigger than etcd
// takes.
func TestEveryListMapAndStringIsBounded(t *testing.T) {
	walkParts(t, func(path string, schema *apiextensionsv1.JSONSchemaProps) {
		switch {
		case schema.Type == "string" && schema.MaxLength == nil && len(schema.Enum) == 0 && schema.Format != "date-time":
			t.Errorf("%s: a string without maxLength", path)
		case schema.Type == "array" && schema.MaxItems == nil:
			t.Errorf("%s: a list without maxItems", path)
		case schema.Type == "array" && schema.XListType == nil:
			t.Errorf("%s: a list without listType, which servers would merge as a whole", path)
		case schema.AdditionalProperties != nil && schema.MaxProperties == nil:
			t.Errorf("%s: a map without maxProperties", path)
		case schema.Format == "int32" && schema.Maximum != nil && *schema.Maximum > 1<<31-1:
			t.Errorf("%s: a maximum beyond its format int32", path)
		}
	})
}

// The API server's own check of a CRD, the cost of its rules included.
func TestAPIServerTakesTheCRDs(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
		apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
		internal := &apiextensions.CustomResourceDefinition{}
		if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, internal, nil); err != nil {
			t.Fatal(err)
		}
		internal.Status.StoredVersions = []string{"v1beta1"}
		if errs := validation.ValidateCustomResourceDefinition(context.Background(), internal); len(errs) > 0 {
			for _, err := range errs {
				t.Errorf("%s: %v", crd.Name, err)
			}
		}
	}
}

// Rules may use only what the oldest Kubernetes that Clarion runs on knows.
func TestRulesCompileOnKubernetes131(t *testing.T) {
	rules := 0
	for _, crd := range loadCRDs(t) {
		internal := &apiextensions.JSONSchemaProps{}
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(crd.Spec.Versions[0].Schema.OpenAPIV3Schema, internal, nil); err != nil {
			t.Fatal(err)
		}
		structural, err := structuralschema.NewStructural(internal)
		if err != nil {
			t.Fatal(err)
		}
		rules += compileRules(t, crd.Spec.Names.Kind, structural, true)
	}
	if rules < 30 {
		t.Errorf("only %d rules were compiled: the walk misses some", rules)
	}
}

func compileRules(t *testing.T, path string, schema *structuralschema.Structural, root bool) int {
	t.Helper()
	results, err := schemacel.Compile(schema, model.SchemaDeclType(schema, root), celconfig.PerCallLimit,
		environment.MustBaseEnvSet(version.MajorMinor(1, 31)), schemacel.NewExpressionsEnvLoader())
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	for i, result := range results {
		if result.Error != nil {
			t.Errorf("%s: rule %q: %v", path, schema.XValidations[i].Rule, result.Error)
		}
	}
	rules := len(results)
	for name := range schema.Properties {
		child := schema.Properties[name]
		rules += compileRules(t, path+"."+name, &child, false)
	}
	if schema.Items != nil {
		rules += compileRules(t, path+"[]", schema.Items, false)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Structural != nil {
		rules += compileRules(t, path+"{}", schema.AdditionalProperties.Structural, false)
	}
	return rules
}
