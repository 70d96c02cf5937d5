package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// scheme has the kinds that the controller reads and writes.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, coordinationv1.AddToScheme, eventsv1.AddToScheme, clarion.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err) // two kinds under one name: a mistake of ours
		}
	}
	return s
}

// mapper knows the resources without asking the API server, which may be away when we start.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	m.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	m.Add(deploymentKind, meta.RESTScopeNamespace)
	m.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	for _, kind := range []string{"IPAddressPool", "L2Advertisement", "BGPAdvertisement", "BGPPeer", "BFDProfile", "Speaker"} {
		m.Add(clarion.GroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	m.AddSpecific(clarion.GroupVersion.WithKind("Community"), clarion.GroupVersion.WithResource("communities"),
		clarion.GroupVersion.WithResource("community"), meta.RESTScopeRoot)
	return m
}

// cluster is the API server as the controller sees it: a cache to read from, and a client to write with.
type cluster struct {
	cache  cache.Cache
	client client.Client // does not read from the cache
	config *rest.Config
	http   *http.Client
}

func newCluster(o Options) (*cluster, error) {
	config := rest.CopyConfig(o.Config)
	config.QPS = -1 // the API server's priority and fairness is what limits us
	if config.UserAgent == "" {
		config.UserAgent = "clarion-controller"
	}
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	yes := true
	c, err := cache.New(config, cache.Options{
		HTTPClient:                   h,
		Scheme:                       scheme(),
		Mapper:                       mapper(),
		DefaultTransform:             cache.TransformStripManagedFields(),
		DefaultWatchErrorHandler:     watchErrors(o.Log),
		DefaultUnsafeDisableDeepCopy: &yes, // what comes from the cache is read and never changed
		ReaderFailOnMissingInformer:  true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}:   {Transform: trimService},
			&corev1.Namespace{}: {Transform: trimNamespace},
			&corev1.Node{}:      {Transform: trimNode},
			&clarion.Speaker{}:  {Transform: trimSpeaker},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	w, err := client.New(config, client.Options{HTTPClient: h, Scheme: scheme(), Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &cluster{cache: c, client: w, config: config, http: h}, nil
}

// watchErrors tells why following fails, under one message, so that whoever limits lines by cause limits them.
func watchErrors(log *slog.Logger) toolscache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, _ *toolscache.Reflector, err error) {
		switch {
		case ctx.Err() != nil, apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			// The usual end of a watch.
		case apierrors.IsNotFound(err):
			log.Warn("waiting for custom resource definitions: apply Clarion's manifest, or config/crd", "error", err)
		default:
			log.Warn("can't follow the API server's objects, going on with what was last known", "error", err)
		}
	}
}

// The transforms leave in the cache only what is read, so that a Service costs hundreds of bytes and not thousands.

func trimService(in any) (any, error) {
	s, ok := in.(*corev1.Service)
	if !ok {
		return in, nil
	}
	out := &corev1.Service{ObjectMeta: trimMeta(s.ObjectMeta)}
	out.Spec.Type = s.Spec.Type
	for name, value := range s.Annotations {
		if strings.HasPrefix(name, clarion.AnnotationPrefix) || strings.HasPrefix(name, clarion.MetalLBPrefix) ||
			strings.HasPrefix(name, clarion.MetalLBOldPrefix) {
			if out.Annotations == nil {
				out.Annotations = map[string]string{}
			}
			out.Annotations[name] = value
		}
	}
	for _, kind := range ourConditions {
		if c := meta.FindStatusCondition(s.Status.Conditions, string(kind)); c != nil {
			out.Status.Conditions = append(out.Status.Conditions, *c)
		}
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return out, nil
	}
	out.Labels = s.Labels
	out.Spec.LoadBalancerClass = s.Spec.LoadBalancerClass
	out.Spec.LoadBalancerIP = s.Spec.LoadBalancerIP
	out.Spec.ClusterIPs = s.Spec.ClusterIPs
	out.Spec.IPFamilyPolicy = s.Spec.IPFamilyPolicy
	out.Spec.ExternalTrafficPolicy = s.Spec.ExternalTrafficPolicy
	for name := range out.Annotations {
		if strings.HasSuffix(name, strings.TrimPrefix(clarion.AnnotationAllowSharedIP, clarion.AnnotationPrefix)) {
			out.Spec.Selector = s.Spec.Selector // it matters to those alone who share
		}
	}
	out.Spec.Ports = make([]corev1.ServicePort, len(s.Spec.Ports))
	for i, p := range s.Spec.Ports {
		out.Spec.Ports[i] = corev1.ServicePort{Protocol: p.Protocol, Port: p.Port}
	}
	out.Status.LoadBalancer.Ingress = s.Status.LoadBalancer.Ingress
	return out, nil
}

func trimNamespace(in any) (any, error) {
	n, ok := in.(*corev1.Namespace)
	if !ok {
		return in, nil
	}
	out := &corev1.Namespace{ObjectMeta: trimMeta(n.ObjectMeta)}
	out.Labels = n.Labels
	return out, nil
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:         m.Namespace,
		Name:              m.Name,
		UID:               m.UID,
		ResourceVersion:   m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp,
		DeletionTimestamp: m.DeletionTimestamp,
	}
}
