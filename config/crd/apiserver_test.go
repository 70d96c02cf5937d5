package crd_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// assetsVariable names the directory of etcd and kube-apiserver.
const assetsVariable = "KUBEBUILDER_ASSETS"

// apiServer is a client of a real kube-apiserver that has the CRDs; nil without binaries.
var apiServer client.Client

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Getenv(assetsVariable) == "" {
			return m.Run()
		}
		env := &envtest.Environment{
			CRDInstallOptions: envtest.CRDInstallOptions{Paths: crdFiles(), ErrorIfPathMissing: true},
		}
		// Both families, for the Services of the documentation.
		env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.96.0.0/14,fd96::/108")
		config, err := env.Start()
		if err != nil {
			fmt.Fprintln(os.Stderr, "start kube-apiserver:", err)
			return 1
		}
		defer func() {
			if err := env.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, "stop kube-apiserver:", err)
			}
		}()
		config.QPS, config.Burst = -1, -1
		scheme := env.Scheme
		if err := v1beta1.AddToScheme(scheme); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if apiServer, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
			fmt.Fprintln(os.Stderr, "connect to kube-apiserver:", err)
			return 1
		}
		return m.Run()
	}())
}

func crdFiles() []string {
	files, _ := filepath.Glob("clarion.dev_*.yaml")
	return files
}

// server is the API server of this run; without binaries the test is skipped.
func server(t *testing.T) client.Client {
	t.Helper()
	// Asked for here, and not only in TestMain, so that go test's cache knows that it matters.
	if os.Getenv(assetsVariable) == "" {
		t.Skipf("needs a kube-apiserver: set %s to a directory with kube-apiserver and etcd (make test does)", assetsVariable)
	}
	return apiServer
}

// refusal is one thing that the API server has against an object.
type refusal struct {
	// field without indices: spec.addresses[].
	field   string
	message string
}

var index = regexp.MustCompile(`\[[^\]]*\]`)

// apply asks the API server to create an object, strictly as kubectl apply does, without keeping it.
func apply(t *testing.T, c client.Client, object *unstructured.Unstructured) []refusal {
	t.Helper()
	err := c.Create(context.Background(), object.DeepCopy(), client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	if err == nil {
		return nil
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		t.Fatalf("the API server did not answer: %v", err)
	}
	if status.Status().Reason != metav1.StatusReasonInvalid {
		return []refusal{{message: err.Error()}}
	}
	var refusals []refusal
	for _, cause := range status.Status().Details.Causes {
		message := strings.Replace(cause.Message, "may not be longer than", "may not be more than", 1) // as Kubernetes 1.31 has it
		refusals = append(refusals, refusal{field: index.ReplaceAllString(cause.Field, "[]"), message: message})
	}
	return refusals
}

// object makes an object of a kind from the YAML of its spec.
func object(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(v1beta1.GroupVersion.WithKind(kind))
	o.SetName("example")
	if spec != "" {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
			t.Fatalf("the spec of this test is no YAML: %v\n%s", err, spec)
		}
		o.Object["spec"] = content
	}
	return o
}

// readObjects reads all objects of a YAML file.
func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(f, 4096)
	for {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}
