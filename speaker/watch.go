package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/gossip"
)

// scheme has the kinds that a speaker reads and writes.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme, v1beta1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // two kinds under one name: a mistake of ours
		}
	}
	return s
}

// mapper knows the resources without asking the API server, which may be away.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Secret"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	m.Add(appsv1.SchemeGroupVersion.WithKind("DaemonSet"), meta.RESTScopeNamespace)
	m.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	m.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	for _, kind := range []string{"IPAddressPool", "L2Advertisement", "Speaker", "BGPPeer", "BGPAdvertisement", "BFDProfile", "Community"} {
		m.Add(v1beta1.GroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	return m
}

// awaitCRDs returns once the API server serves the kinds that a speaker needs.
func awaitCRDs(ctx context.Context, config *rest.Config, log *slog.Logger) error {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	for told := ""; ; {
		missing, err := missingKinds(d)
		if err == nil && len(missing) == 0 {
			return nil
		}
		switch {
		case err != nil:
			log.Warn("waiting for the API server", "error", err)
			told = ""
		case strings.Join(missing, " ") != told:
			told = strings.Join(missing, " ")
			log.Warn("waiting for custom resource definitions: apply Clarion's manifest, or config/crd", "reason", "no kind "+told)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

func missingKinds(d discovery.DiscoveryInterface) ([]string, error) {
	served, err := d.ServerResourcesForGroupVersion(v1beta1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	var missing []string
	for _, kind := range []string{"IPAddressPool", "L2Advertisement", "Speaker"} {
		found := false
		if served != nil {
			for _, r := range served.APIResources {
				found = found || r.Kind == kind
			}
		}
		if !found {
			missing = append(missing, kind)
		}
	}
	return missing, nil
}

// watcher follows the objects that matter.
type watcher struct {
	cache  cache.Cache
	synced []func() bool
}

func newWatcher(config *rest.Config, o Options) (*watcher, error) {
	byName := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	c, err := cache.New(config, cache.Options{
		Scheme:                   scheme(),
		Mapper:                   mapper(),
		DefaultTransform:         cache.TransformStripManagedFields(),
		DefaultWatchErrorHandler: watchErrors(o.Log),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}: {
				Field:     fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)),
				Transform: keepServices(o.Classes),
			},
			&discoveryv1.EndpointSlice{}: {Transform: keepSlices()},
			&corev1.Node{}:               {Transform: trimNode},
			&corev1.Secret{}: {
				Namespaces: map[string]cache.Config{o.Namespace: {FieldSelector: byName(GossipSecret)}},
			},
			&v1beta1.Speaker{}: {Field: byName(o.NodeName)},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return &watcher{cache: c}, nil
}

// GossipSecret is the name of the Secret with the gossip keys, in Clarion's namespace, and GossipKeys that of
// its entry.
const (
	GossipSecret = "clarion-gossip"
	GossipKeys   = "keys"
)

// follow registers a handler for a kind.
func (w *watcher) follow(ctx context.Context, o client.Object, h toolscache.ResourceEventHandler) error {
	informer, err := w.cache.GetInformer(ctx, o, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("following %T: %w", o, err)
	}
	registration, err := informer.AddEventHandler(h)
	if err != nil {
		return fmt.Errorf("following %T: %w", o, err)
	}
	w.synced = append(w.synced, registration.HasSynced)
	return nil
}

// hasSynced reports whether everything there was at the start has been handed on.
func (w *watcher) hasSynced() bool {
	for _, synced := range w.synced {
		if !synced() {
			return false
		}
	}
	return len(w.synced) > 0
}

// followAll has what it sees of each kind put into f; the keys in the Secret are given to keys, in the loop, and this
// node's Speaker to own.
func (w *watcher) followAll(ctx context.Context, o Options, f *feed, keys func([]gossip.Key, error), own func(*v1beta1.Speaker)) error {
	for _, r := range []struct {
		kind client.Object
		h    toolscache.ResourceEventHandler
	}{
		{&corev1.Service{}, keptHandler(f, func(key types.NamespacedName, s *service) func(*cluster) {
			return func(c *cluster) { c.setService(key, s) }
		})},
		{&discoveryv1.EndpointSlice{}, keptHandler(f, func(key types.NamespacedName, s *slice) func(*cluster) {
			return func(c *cluster) { c.setSlice(key, s) }
		})},
		{&corev1.Node{}, handler(f,
			func(n *corev1.Node) func(*cluster) {
				converted := nodeOf(n)
				return func(c *cluster) { c.setNode(converted.plan.Name, converted) }
			},
			func(key types.NamespacedName) func(*cluster) { return func(c *cluster) { c.setNode(key.Name, nil) } })},
		{&v1beta1.IPAddressPool{}, handler(f,
			func(p *v1beta1.IPAddressPool) func(*cluster) {
				return func(c *cluster) { c.setPool(p.Name, true, p.Labels) }
			},
			func(key types.NamespacedName) func(*cluster) {
				return func(c *cluster) { c.setPool(key.Name, false, nil) }
			})},
		{&v1beta1.L2Advertisement{}, handler(f,
			func(ad *v1beta1.L2Advertisement) func(*cluster) {
				return func(c *cluster) {
					compiled, err := advertisementOf(ad, c.poolLabels)
					if err != nil {
						// The controller says so in the object's condition. What was in force stays so.
						o.Log.Warn("can't read an L2Advertisement", "advertisement", ad.Name, "error", err)
						return
					}
					c.setAdvertisement(ad.Name, compiled)
				}
			},
			func(key types.NamespacedName) func(*cluster) {
				return func(c *cluster) { c.setAdvertisement(key.Name, nil) }
			})},
		{&corev1.Secret{}, handler(f,
			func(s *corev1.Secret) func(*cluster) {
				parsed, err := gossip.ParseKeys(s.Data[GossipKeys])
				if err != nil {
					o.Log.Error("can't read the gossip keys, going on with those before", "secret", GossipSecret, "error", err)
				}
				return func(*cluster) { keys(parsed, err) }
			},
			func(types.NamespacedName) func(*cluster) { return func(*cluster) { keys(nil, nil) } })},
		{&v1beta1.Speaker{}, handler(f,
			func(s *v1beta1.Speaker) func(*cluster) { own(s); return nil },
			func(types.NamespacedName) func(*cluster) { own(nil); return nil })},
	} {
		if err := w.follow(ctx, r.kind, r.h); err != nil {
			return err
		}
	}
	return nil
}

// watchErrors tells why following fails, under one message so that whoever limits lines by cause limits them.
func watchErrors(log *slog.Logger) toolscache.WatchErrorHandlerWithContext {
	return func(_ context.Context, _ *toolscache.Reflector, err error) {
		switch {
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			// The usual end of a watch.
		default:
			log.Warn("can't follow the API server's objects, going on with what was last known", "error", err)
		}
	}
}

// The transforms leave in the cache only what the conversions read; of Services and EndpointSlices, what they come to (kept).

func trimNode(in any) (any, error) {
	n, ok := in.(*corev1.Node)
	if !ok {
		return in, nil
	}
	out := &corev1.Node{ObjectMeta: trimMeta(n.ObjectMeta)}
	out.Labels = n.Labels
	out.Spec.Unschedulable = n.Spec.Unschedulable
	for _, t := range n.Spec.Taints {
		out.Spec.Taints = append(out.Spec.Taints, corev1.Taint{Key: t.Key, Effect: t.Effect})
	}
	out.Status.Addresses = n.Status.Addresses
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady || c.Type == corev1.NodeNetworkUnavailable {
			out.Status.Conditions = append(out.Status.Conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status, Message: shutdownMessage(c)})
		}
	}
	return out, nil
}

// shutdownMessage is what tells a node that shuts down from others that are not Ready.
func shutdownMessage(c corev1.NodeCondition) string {
	if strings.Contains(c.Message, shuttingDown) {
		return shuttingDown
	}
	return ""
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name:              m.Name,
		Namespace:         m.Namespace,
		UID:               m.UID,
		ResourceVersion:   m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp,
	}
}
