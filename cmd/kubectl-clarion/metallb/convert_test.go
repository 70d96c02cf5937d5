package metallb

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write what is expected anew, to be read before it is committed")

func read(t *testing.T, file string) []unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []unstructured.Unstructured
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
}

func cases(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	return slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".clarion.yaml") })
}

// text is a result for people to read and compare.
func text(t *testing.T, r Result) string {
	t.Helper()
	var b strings.Builder
	for _, n := range r.Notes {
		b.WriteString("# " + string(n.Verdict) + ": " + n.String() + "\n")
	}
	for _, f := range r.Flags {
		b.WriteString("# flag " + f + "\n")
	}
	for _, object := range append([]any{r.Values}, objects(r)...) {
		content, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n" + string(content))
	}
	return b.String()
}

func objects(r Result) []any {
	var out []any
	for _, o := range r.Objects {
		out = append(out, o.Object)
	}
	return out
}

func TestConfigurationsOfAllTimes(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			got := text(t, Convert(read(t, file), Options{Namespace: "clarion-system"}))
			golden := strings.TrimSuffix(file, ".yaml") + ".clarion.yaml"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestTheOrderOfObjectsDoesNotMatter(t *testing.T) {
	for _, file := range cases(t) {
		in := read(t, file)
		want := text(t, Convert(in, Options{Namespace: "clarion-system"}))
		slices.Reverse(in)
		if got := text(t, Convert(in, Options{Namespace: "clarion-system"})); got != want {
			t.Errorf("%s the other way round:\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestOtherPeoplesObjectsArePassedOver(t *testing.T) {
	in := []unstructured.Unstructured{
		{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "config"}, "data": map[string]any{"config": "a: 1"}}},
		{Object: map[string]any{"apiVersion": "cilium.io/v2", "kind": "BGPPeer", "spec": map[string]any{"myASN": int64(1)}}},
		{Object: map[string]any{"apiVersion": "metallb.io/v1beta1", "kind": "ServiceL2Status"}},
		{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment"}},
		{Object: map[string]any{}},
	}
	if r := Convert(in, Options{}); len(r.Objects)+len(r.Notes)+len(r.Values) != 0 {
		t.Errorf("got %+v", r)
	}
}

func TestWhatIsPrintedIsWhatTheAPIServerTakes(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("needs a kube-apiserver: KUBEBUILDER_ASSETS is not set (make test sets it)")
	}
	env := &envtest.Environment{CRDInstallOptions: envtest.CRDInstallOptions{Paths: []string{"../../../deploy/chart/files/crd"}, ErrorIfPathMissing: true}}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range cases(t) {
		for _, object := range Convert(read(t, file), Options{Namespace: "default"}).Objects {
			if err := c.Create(t.Context(), &object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict)); err != nil {
				t.Errorf("%s: %s: %v", file, nameOf(object), err)
			}
		}
	}
}

func TestEveryFieldOfMetalLBHasARowInTheDocumentation(t *testing.T) {
	content, err := os.ReadFile("../../../docs/reference/metallb.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range Fields {
		if row := f.Row(); !strings.Contains(string(content), row+"\n") {
			t.Errorf("docs/reference/metallb.md has no row\n%s", row)
		}
	}
}

// TestEveryFieldThatMetalLBHasIsKnown goes by everything.yaml, which has them all.
func TestEveryFieldThatMetalLBHasIsKnown(t *testing.T) {
	there := map[string]bool{}
	for _, object := range read(t, "testdata/everything.yaml") {
		kind := object.GetKind()
		spec, _, _ := unstructured.NestedMap(object.Object, "spec")
		for name, value := range spec {
			if nested, ok := value.(map[string]any); ok && name == "serviceAllocation" {
				for inner := range nested {
					there[kind+"."+name+"."+inner] = true
				}
				continue
			}
			there[kind+"."+name] = true
		}
	}
	for _, f := range Fields {
		if !there[f.Kind+"."+f.Name] {
			t.Errorf("everything.yaml has no %s.%s", f.Kind, f.Name)
		}
		delete(there, f.Kind+"."+f.Name)
	}
	for field := range there {
		if !strings.HasPrefix(field, "AddressPool.") {
			t.Errorf("what becomes of %s is told nowhere", field)
		}
	}
}

func TestEveryFieldOfTheConfigMapHasARowInTheDocumentation(t *testing.T) {
	content, err := os.ReadFile("../../../docs/reference/metallb.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{
		"address-pools":                      {"name", "protocol", "addresses", "bgp-advertisements"},
		"address-pools[].bgp-advertisements": {"communities"},
		"peers":                              {"password"},
		"bfd-profiles":                       {"name"},
	}
	for list, fields := range map[string]map[string]string{"address-pools": oldPoolFields, "address-pools[].bgp-advertisements": oldAdvertisementFields,
		"peers": oldPeerFields, "bfd-profiles": oldProfileFields} {
		rows[list] = append(rows[list], slices.Collect(maps.Keys(fields))...)
	}
	for list, fields := range rows {
		for _, field := range fields {
			if row := "| `" + list + "[]." + field + "` |"; !strings.Contains(string(content), "\n"+row) {
				t.Errorf("docs/reference/metallb.md has no row %s", row)
			}
		}
	}
}

func FuzzConvert(f *testing.F) {
	for _, file := range []string{"testdata/resources.yaml", "testdata/configmap.yaml", "testdata/addresspool.yaml"} {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, document := range bytes.Split(content, []byte("---\n")) {
			f.Add(document)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		var object unstructured.Unstructured
		if utilyaml.Unmarshal(content, &object.Object) != nil || object.Object == nil {
			return
		}
		Convert([]unstructured.Unstructured{object}, Options{Namespace: "n"})
	})
}
