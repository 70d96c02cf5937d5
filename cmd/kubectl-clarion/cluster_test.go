package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// plugin is the root of all commands.
func plugin(t *testing.T) *cobra.Command {
	t.Helper()
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	return command(streams)
}

// TestOnARealAPIServer runs the commands as two people: one who may do everything, and one who may view a namespace.
func TestOnARealAPIServer(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("needs a kube-apiserver: KUBEBUILDER_ASSETS is not set (make test sets it)")
	}
	env := &envtest.Environment{CRDInstallOptions: envtest.CRDInstallOptions{Paths: []string{"../../deploy/chart/files/crd"}, ErrorIfPathMissing: true}}
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	as := func(user envtest.User) string {
		t.Helper()
		u, err := env.AddUser(user, nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := u.KubeConfig()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	admin, nobody := as(envtest.User{Name: "admin", Groups: []string{"system:masters"}}), as(envtest.User{Name: "nobody"})

	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []v1beta1.AddressRange{"192.0.2.0/24"}}}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clarion-system"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "clarion-system", Name: gossipSecret}}
	for _, o := range []client.Object{pool, service, namespace, secret} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("tables of what there is, and of what there is not", func(t *testing.T) {
		for _, test := range []struct{ command, want string }{
			{"pools", "lan"}, {"pools -o wide", "192.0.2.0/24"}, {"pools -o yaml", "192.0.2.0/24"}, {"pools -o json", `"192.0.2.0/24"`},
			{"speakers", "There is no Speaker"}, {"peers", "There is no BGPPeer"},
		} {
			out, _, err := run(t, "", append(strings.Fields(test.command), "--kubeconfig", admin)...)
			if err != nil || !strings.Contains(out, test.want) {
				t.Errorf("%s: no %q in %s%v", test.command, test.want, out, err)
			}
		}
		if _, _, err := run(t, "", "pools", "-o", "xml", "--kubeconfig", admin); err == nil || !strings.Contains(err.Error(), "wide, json or yaml") {
			t.Errorf("-o xml: %v", err)
		}
	})
	t.Run("every view is to be had for programs, and without colours", func(t *testing.T) {
		for _, command := range []string{"status", "pools", "speakers", "peers", "doctor", "version", "history default/web", "explain service default/web"} {
			for _, format := range []string{"json", "yaml", "wide", ""} {
				out, _, err := run(t, "", append(strings.Fields(command), "-o", format, "--kubeconfig", admin)...)
				if err != nil && !errors.Is(err, errUnhealthy) || strings.Contains(out, "\x1b") || out == "" {
					t.Errorf("%s -o %s: %v\n%q", command, format, err, out)
				}
				if format == "json" && !json.Valid([]byte(out)) {
					t.Errorf("%s -o json is none:\n%s", command, out)
				}
			}
			var watch, output bool
			c, _, err := plugin(t).Find(strings.Fields(command))
			if err == nil {
				watch, output = c.Flags().Lookup("watch") != nil, c.Flags().Lookup("output") != nil
			}
			if !watch || !output {
				t.Errorf("%s lacks --watch or --output: %v", command, err)
			}
		}
		for args, want := range map[string]string{"explain service": "default/web", "history": "default/web", "simulate drain": "", "pools -o": "yaml", "": "simulate"} {
			words := append(append([]string{"__complete", "--kubeconfig", admin}, strings.Fields(args)...), "")
			if out, _, err := run(t, "", words...); err != nil || !strings.Contains(out, want) || strings.Contains(out, "ShellCompDirectiveError") {
				t.Errorf("completing %q: %v\n%s", args, err, out)
			}
		}
		if _, _, err := run(t, "", "simulate", "drain", "a", "--kubeconfig", admin); err == nil || !strings.Contains(err.Error(), "no speaker runs in namespace clarion-system") {
			t.Errorf("a simulation without speakers: %v", err)
		}
		if _, _, err := run(t, "", "simulate", "loss", "a", "--kubeconfig", nobody); err == nil || !strings.Contains(err.Error(), "you may not list Pods") {
			t.Errorf("a simulation by who may nothing: %v", err)
		}
	})
	t.Run("status and doctor tell what they could not see", func(t *testing.T) {
		for _, command := range []string{"status", "doctor"} {
			out, _, err := run(t, "", command, "--kubeconfig", admin)
			if !errors.Is(err, errUnhealthy) || strings.Contains(out, "older version") ||
				command == "doctor" && !strings.Contains(out, "clarion-system/clarion-controller may not get, list, watch services") {
				t.Errorf("%s of a cluster without Clarion: %v\n%s", command, err, out)
			}
			out, _, err = run(t, "", command, "--kubeconfig", nobody)
			if err != nil && !errors.Is(err, errUnhealthy) || !strings.Contains(out, "may not read") {
				t.Errorf("%s for who may read nothing: %v\n%s", command, err, out)
			}
		}
	})
	t.Run("explain tells of every pool, and of what the caller may not see", func(t *testing.T) {
		out, _, err := run(t, "", "explain", "service", "default/web", "--kubeconfig", admin)
		if !errors.Is(err, errUnhealthy) || !strings.Contains(out, "Assigned: ") || !strings.Contains(out, "has not looked at it") {
			t.Errorf("a Service that nobody has looked at: %v\n%s", err, out)
		}
		asks := service.DeepCopy()
		asks.ObjectMeta = metav1.ObjectMeta{Namespace: "default", Name: "asks", Annotations: map[string]string{v1beta1.AnnotationLoadBalancerIPs: "198.51.100.1"}}
		asks.Spec.ClusterIP, asks.Spec.ClusterIPs, asks.Spec.Ports[0].NodePort = "", nil, 0
		if err := c.Create(t.Context(), asks); err != nil {
			t.Fatal(err)
		}
		out, _, _ = run(t, "", "explain", "service", "default/asks", "--kubeconfig", admin)
		if !strings.Contains(out, "AddressNotInPool") || !strings.Contains(out, "198.51.100.1") {
			t.Errorf("a Service that asks for what no pool has:\n%s", out)
		}
		out, _, _ = run(t, "", "explain", "svc", "default/web", "--kubeconfig", admin, "--serve-unclassed-services=false")
		if !strings.Contains(out, "another provider's") {
			t.Errorf("a Service that is not ours:\n%s", out)
		}
		if _, _, err := run(t, "", "explain", "service", "default/web", "--kubeconfig", nobody); err == nil || errors.Is(err, errUnhealthy) {
			t.Errorf("a Service that one may not read: %v", err)
		}
	})
	t.Run("the check of a migration tells who would not keep an address", func(t *testing.T) {
		held := service.DeepCopy()
		held.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.9"}}
		if err := c.Status().Update(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "metallb.yaml")
		for addresses, want := range map[string]string{"192.0.2.0/28": "1 of 1 Services", "198.51.100.0/24": "0 of 1 Services"} {
			if err := os.WriteFile(file, []byte("apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [\""+addresses+"\"]}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, _, err := run(t, "", "migrate", "metallb", "--check", "-f", file, "--kubeconfig", admin)
			if !strings.Contains(out, want) || errors.Is(err, errUnhealthy) != strings.HasPrefix(want, "0") {
				t.Errorf("with %s: %v\n%s", addresses, err, out)
			}
		}
	})
	t.Run("a move is asked for on the Service, and taken back", func(t *testing.T) {
		if err := c.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker"}}); err != nil {
			t.Fatal(err)
		}
		asks := func() string {
			var s corev1.Service
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(service), &s); err != nil {
				t.Fatal(err)
			}
			return s.Annotations[v1beta1.AnnotationAnnounceFrom]
		}
		if out, _, err := run(t, "", "move", "192.0.2.9", "worker", "--kubeconfig", admin); err != nil || asks() != "worker" || !strings.Contains(out, "can't be seen: no speaker runs") {
			t.Errorf("%v, %q: %s", err, asks(), out)
		}
		if out, _, err := run(t, "", "move", "192.0.2.9", "--release", "--kubeconfig", admin); err != nil || asks() != "" || !strings.Contains(out, "stays where it is") {
			t.Errorf("%v, %q: %s", err, asks(), out)
		}
		if out, _, err := run(t, "", "move", "192.0.2.9", "--release", "--kubeconfig", admin); err != nil || !strings.Contains(out, "nothing to take back") {
			t.Errorf("taken back twice: %v: %s", err, out)
		}
		// A namespace's own people see its Services, and nothing else.
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "owner"},
			Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: []string{"list", "patch"}}}}
		binding := &rbacv1.RoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "owner"},
			Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "owner"}}}
		for _, o := range []client.Object{role, binding} {
			if err := c.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		owner := as(envtest.User{Name: "owner"})
		if out, _, err := run(t, "", "move", "192.0.2.9", "worker", "--kubeconfig", owner); err != nil || asks() != "worker" || !strings.Contains(out, "you may not list Pods") {
			t.Errorf("by the namespace's owner: %v, %q: %s", err, asks(), out)
		}
		if _, _, err := run(t, "", "move", "192.0.2.77", "worker", "--kubeconfig", owner); err == nil || !strings.Contains(err.Error(), "no Service in namespace default has the address") {
			t.Errorf("an address that the owner can't see: %v", err)
		}
		for _, args := range []string{"192.0.2.77 worker", "192.0.2.9 nobody", "web worker", "192.0.2.9"} {
			if out, _, err := run(t, "", append(append([]string{"move"}, strings.Fields(args)...), "--kubeconfig", admin)...); err == nil {
				t.Errorf("move %s: %s", args, out)
			}
		}
	})
	t.Run("history tells a Service's events in order, and no other's", func(t *testing.T) {
		for _, e := range []struct {
			reason, controller string
			uid                types.UID
			ago                time.Duration
		}{
			{"Announced", "clarion.dev/speaker", service.UID, time.Minute}, {"Assigned", "clarion.dev/controller", service.UID, time.Hour},
			{"Released", "clarion.dev/controller", "another", time.Minute}, {"Assigned", "clarion.dev/controller", "deleted", 2 * time.Hour}, {"Foreign", "example.com/x", service.UID, time.Minute},
		} {
			event := &eventsv1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "e"}, Reason: e.reason, Type: "Normal", Action: "Assign",
				ReportingController: e.controller, ReportingInstance: "x", EventTime: metav1.NewMicroTime(time.Now().Add(-e.ago)),
				Regarding: corev1.ObjectReference{Kind: "Service", Namespace: "default", Name: "web", UID: e.uid}}
			if e.uid == "deleted" {
				event.Regarding.Name = "deleted"
			}
			if err := c.Create(t.Context(), event); err != nil {
				t.Fatal(err)
			}
		}
		out, _, err := run(t, "", "history", "default/web", "--kubeconfig", admin)
		want := regexp.MustCompile(`^AGO WHAT MESSAGE 60m Assigned \d+m?\d*s Announced$`) // a minute ago, or more on a busy machine
		if err != nil || !want.MatchString(strings.Join(strings.Fields(out), " ")) {
			t.Errorf("%v\n%s", err, out)
		}
		if out, _, err := run(t, "", "history", "default/deleted", "--kubeconfig", admin); err != nil || !strings.Contains(out, "Assigned") || strings.Contains(out, "Released") {
			t.Errorf("of a Service that was deleted: %v\n%s", err, out)
		}
		for _, arg := range []string{"default/none", "/web", "default/", "a/b/c"} {
			if _, _, err := run(t, "", "history", arg, "--kubeconfig", admin); err == nil {
				t.Errorf("%q was taken for a Service", arg)
			}
		}
	})
	t.Run("keys are replaced in steps that all speakers understand", func(t *testing.T) {
		streams, _, _, _ := genericiooptions.NewTestIOStreams()
		p := &program{IOStreams: streams, installedIn: namespace.Name}
		keys := func() string {
			t.Helper()
			var s corev1.Secret
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(secret), &s); err != nil {
				t.Fatal(err)
			}
			return strings.Join(strings.Fields(string(s.Data[gossipKeys])), " ")
		}
		if err := (&program{IOStreams: streams, installedIn: "elsewhere"}).rotate(t.Context(), c, "new", nil); err == nil || !strings.Contains(err.Error(), "--clarion-namespace") {
			t.Errorf("where Clarion is not: %v", err)
		}
		if err := p.rotate(t.Context(), c, "new", nil); !errors.Is(err, errNoKeys) {
			t.Errorf("without keys: %v", err)
		}
		secret.Data = map[string][]byte{gossipKeys: []byte("old\n")}
		if err := c.Update(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		var seen []string
		see := func(context.Context) error { seen = append(seen, keys()); return nil }
		if err := p.rotate(t.Context(), c, "new", see); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append(seen, keys()), ", "); got != "old new, new old, new" {
			t.Errorf("the keys were %s", got)
		}
		// Interrupted, and run again.
		stop := errors.New("interrupted")
		if err := p.rotate(t.Context(), c, "newer", func(context.Context) error { return stop }); !errors.Is(err, stop) {
			t.Fatal(err)
		}
		seen = nil
		if err := p.rotate(t.Context(), c, "newest", see); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append(seen, keys()), ", "); got != "new newer newest, newest new newer, newest" {
			t.Errorf("the keys were %s", got)
		}
	})
}
