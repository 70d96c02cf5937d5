package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/clarion-lb/clarion/e2e/lab"
)

// Announce makes a pool of a part of the LAN in both families, and has layer 2
// announce it.
func Announce(ctx context.Context, l *lab.Lab) error {
	return l.ApplyYAML(ctx, Pool)
}

// Pool is what Announce applies.
var Pool = fmt.Sprintf(`apiVersion: clarion.dev/v1beta1
kind: IPAddressPool
metadata:
  name: lan
spec:
  addresses:
  - %s
  - %s
---
apiVersion: clarion.dev/v1beta1
kind: L2Advertisement
metadata:
  name: lan
spec:
  ipAddressPools: [lan]
`, lab.PoolV4, lab.PoolV6)

// A Web is a Deployment of the test server in namespace default, and a Service
// of type LoadBalancer before it, port 80.
type Web struct {
	Name string
	// Replicas of the Deployment, 2 by default.
	Replicas int
	// NotOn are nodes that no Pod may be on: a node that is to be cut, for
	// instance, since Kubernetes takes 40 s to notice endpoints on a dead one.
	NotOn []string
	// On are the nodes that Pods may be on; none means any.
	On []string
	// FamilyPolicy is the Service's ipFamilyPolicy, SingleStack by default, and
	// Families its ipFamilies, the cluster's first by default.
	FamilyPolicy string
	Families     []string
	// TrafficPolicy is the Service's externalTrafficPolicy, Cluster by default.
	TrafficPolicy string
	// Annotations of the Service.
	Annotations map[string]string
	// NoService leaves the Service as it is or is not.
	NoService bool
}

var webTemplate = template.Must(template.New("web").Parse(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{.Name}}
  namespace: default
spec:
  replicas: {{.Replicas}}
  selector: {matchLabels: {app: {{.Name}}}}
  template:
    metadata: {labels: {app: {{.Name}}}}
    spec:
      terminationGracePeriodSeconds: 5
{{- if or .On .NotOn}}
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms:
            - matchExpressions:
{{- if .On}}
              - {key: kubernetes.io/hostname, operator: In, values: [{{range $i, $n := .On}}{{if $i}}, {{end}}{{$n}}{{end}}]}
{{- end}}
{{- if .NotOn}}
              - {key: kubernetes.io/hostname, operator: NotIn, values: [{{range $i, $n := .NotOn}}{{if $i}}, {{end}}{{$n}}{{end}}]}
{{- end}}
{{- end}}
      containers:
      - name: web
        image: ` + WebImage + `
        imagePullPolicy: Never
        args: [serve, --drain=2s]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
{{- if not .NoService}}
---
apiVersion: v1
kind: Service
metadata:
  name: {{.Name}}
  namespace: default
{{- with .Annotations}}
  annotations:
{{- range $k, $v := .}}
    {{$k}}: "{{$v}}"
{{- end}}
{{- end}}
spec:
  type: LoadBalancer
  selector: {app: {{.Name}}}
  externalTrafficPolicy: {{.TrafficPolicy}}
  ipFamilyPolicy: {{.FamilyPolicy}}
{{- with .Families}}
  ipFamilies: [{{range $i, $f := .}}{{if $i}}, {{end}}{{$f}}{{end}}]
{{- end}}
  ports: [{port: 80, targetPort: 8080}]
{{- end}}
`))

// Serve applies a Web and returns when its Pods are ready.
func Serve(ctx context.Context, l *lab.Lab, w Web) error {
	if w.Replicas == 0 {
		w.Replicas = 2
	}
	if w.FamilyPolicy == "" {
		w.FamilyPolicy = string(corev1.IPFamilyPolicySingleStack)
	}
	if w.TrafficPolicy == "" {
		w.TrafficPolicy = string(corev1.ServiceExternalTrafficPolicyCluster)
	}
	var manifests strings.Builder
	if err := webTemplate.Execute(&manifests, w); err != nil {
		return err
	}
	if err := l.ApplyYAML(ctx, manifests.String()); err != nil {
		return err
	}
	_, err := l.Kubectl(ctx, "rollout", "status", "deployment/"+w.Name, "--timeout=120s")
	return err
}

// Addresses waits until a Service in namespace default has an address, at most
// 30 seconds, and returns all it has. The error has the conditions' messages.
func Addresses(ctx context.Context, l *lab.Lab, service string) ([]netip.Addr, error) {
	client, err := l.Clientset()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var why string
	for {
		list, err := client.CoreV1().Services("default").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", service).String(),
		})
		if err != nil {
			return nil, errors.Join(err, fmt.Errorf("service %s has no address: %s", service, why))
		}
		for _, s := range list.Items {
			var addresses []netip.Addr
			for _, ingress := range s.Status.LoadBalancer.Ingress {
				a, err := netip.ParseAddr(ingress.IP)
				if err != nil {
					return nil, err
				}
				addresses = append(addresses, a)
			}
			if len(addresses) > 0 {
				return addresses, nil
			}
			why = fmt.Sprint(s.Status.Conditions)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("service %s has no address: %s", service, why)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Evacuate moves the Pods of Deployments in namespace default off a node, and
// returns when they are gone and kube-proxy, which follows within a second, sends
// nothing there any more.
func Evacuate(ctx context.Context, l *lab.Lab, node string, replicas int, deployments ...string) error {
	for _, name := range deployments {
		if err := Serve(ctx, l, Web{Name: name, Replicas: replicas, NoService: true, NotOn: []string{node}}); err != nil {
			return err
		}
	}
	client, err := l.Clientset()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		pods, err := client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String(),
		})
		if err != nil {
			return fmt.Errorf("wait for Pods to leave %s: %w", node, err)
		}
		wait := 100 * time.Millisecond
		if len(pods.Items) == 0 {
			wait = proxyLag
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d Pods are still on %s: %w", len(pods.Items), node, ctx.Err())
		case <-time.After(wait):
		}
		if len(pods.Items) == 0 {
			return nil
		}
	}
}

// proxyLag is how far kube-proxy may be behind the API server: it syncs once a
// second.
const proxyLag = 1500 * time.Millisecond
