package speaker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// newRoutingWatcher follows the objects about BGP. It has a cache of its own, so that layer 2 does without what is
// missing here: the resources, or the right to read them.
func newRoutingWatcher(config *rest.Config, log *slog.Logger) (*watcher, error) {
	c, err := cache.New(config, cache.Options{
		Scheme:                   scheme(),
		Mapper:                   mapper(),
		DefaultTransform:         cache.TransformStripManagedFields(),
		DefaultWatchErrorHandler: watchErrors(log),
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return &watcher{cache: c}, nil
}

// trimPassword leaves of a Secret what is read.
func trimPassword(in any) (any, error) {
	s, ok := in.(*corev1.Secret)
	if !ok {
		return in, nil
	}
	out := &corev1.Secret{ObjectMeta: trimMeta(s.ObjectMeta), Type: s.Type}
	if word, there := s.Data[corev1.BasicAuthPasswordKey]; there {
		out.Data = map[string][]byte{corev1.BasicAuthPasswordKey: word}
	}
	return out, nil
}

// followRouting has what is seen of the objects about BGP taken in by r. Pools are followed by those who follow them in any case.
func followRouting(ctx context.Context, own, all *watcher, log *slog.Logger, f *feed, r *routing) error {
	// What can't be read leaves in force what was; the controller says so in the object's condition.
	unreadable := func(kind, name string, err error) {
		log.Warn("can't read an object, going on with what it was", "kind", kind, "name", name, "error", err)
	}
	for _, k := range []struct {
		by   *watcher
		kind client.Object
		h    toolscache.ResourceEventHandler
	}{
		{all, &v1beta1.IPAddressPool{}, handler(f,
			func(o *v1beta1.IPAddressPool) func(*cluster) {
				set := poolSetOf(o)
				return func(*cluster) { r.setPool(o.Name, set) }
			},
			func(key types.NamespacedName) func(*cluster) { return func(*cluster) { r.setPool(key.Name, nil) } })},
		{own, &v1beta1.BGPPeer{}, handler(f,
			func(o *v1beta1.BGPPeer) func(*cluster) {
				converted, err := routerOf(o)
				if err != nil {
					unreadable("BGPPeer", o.Name, err)
					return nil
				}
				return func(*cluster) { r.setRouter(o.Name, converted) }
			},
			func(key types.NamespacedName) func(*cluster) { return func(*cluster) { r.setRouter(key.Name, nil) } })},
		{own, &v1beta1.BGPAdvertisement{}, handler(f,
			func(o *v1beta1.BGPAdvertisement) func(*cluster) {
				return func(c *cluster) {
					converted, err := routeAdvertisementOf(o, c.poolLabels)
					if err != nil {
						unreadable("BGPAdvertisement", o.Name, err)
						return
					}
					r.setAdvertisement(o.Name, converted)
				}
			},
			func(key types.NamespacedName) func(*cluster) {
				return func(*cluster) { r.setAdvertisement(key.Name, nil) }
			})},
		{own, &v1beta1.Community{}, handler(f,
			func(o *v1beta1.Community) func(*cluster) {
				converted := communityOf(o)
				return func(*cluster) { r.setCommunity(o.Name, converted) }
			},
			func(key types.NamespacedName) func(*cluster) { return func(*cluster) { r.setCommunity(key.Name, nil) } })},
		{own, &v1beta1.BFDProfile{}, handler(f,
			func(o *v1beta1.BFDProfile) func(*cluster) {
				converted := profileOf(o)
				return func(*cluster) { r.setProfile(o.Name, converted) }
			},
			func(key types.NamespacedName) func(*cluster) { return func(*cluster) { r.setProfile(key.Name, nil) } })},
	} {
		if err := k.by.follow(ctx, k.kind, k.h); err != nil {
			return err
		}
	}
	return nil
}

// secretsWatch follows the Secrets with passwords that this node needs, each by its name: nobody gives a speaker the right to
// see others. It belongs to the loop.
type secretsWatch struct {
	config    *rest.Config
	namespace string
	log       *slog.Logger
	feed      *feed
	routing   *routing

	following map[string]context.CancelFunc
	parts     sync.WaitGroup
}

// follow has these Secrets followed until ctx ends, and no others.
func (w *secretsWatch) follow(ctx context.Context, names map[string]bool) {
	for name, stop := range w.following {
		if !names[name] {
			stop()
			delete(w.following, name)
			w.routing.forgetSecret(name)
		}
	}
	for name := range names {
		if w.following[name] != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		w.following[name] = stop
		one, err := w.one(ctx, name)
		if err != nil {
			w.log.Error("can't follow a Secret", "secret", name, "error", err)
			w.mayRead(ctx, name, err.Error())
			continue
		}
		w.parts.Go(func() {
			if err := one.cache.Start(ctx); err != nil {
				w.log.Error("the cache has ended", "error", err)
			}
		})
		w.parts.Go(func() {
			// Only when the password is handed on: what may be read and is not there is taken for missing.
			if toolscache.WaitForCacheSync(ctx.Done(), one.hasSynced) {
				w.mayRead(ctx, name, "")
			}
		})
	}
}

// mayRead notes why a Secret can't be read, which is told where it is missed; "" where it can.
func (w *secretsWatch) mayRead(ctx context.Context, name, problem string) {
	w.feed.put(func(*cluster) {
		if ctx.Err() == nil { // else it is not followed any more
			w.routing.setUnreadable(name, problem)
		}
	})
}

// grant is how a speaker comes to read a Secret: config/rbac binds the role, and its names are the cluster's own.
func (w *secretsWatch) grant(name string) string {
	return fmt.Sprintf("speakers may not read the Secret %[2]s: kubectl -n %[1]s create role clarion-speaker-passwords --verb=get,list,watch --resource=secrets --resource-name=%[2]s",
		w.namespace, name)
}

func (w *secretsWatch) one(ctx context.Context, name string) (*watcher, error) {
	log := watchErrors(w.log)
	c, err := cache.New(w.config, cache.Options{
		Scheme: scheme(),
		Mapper: mapper(),
		DefaultWatchErrorHandler: func(c context.Context, r *toolscache.Reflector, err error) {
			log(c, r, err)
			if apierrors.IsForbidden(err) {
				w.mayRead(ctx, name, w.grant(name))
			}
		},
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {
				Namespaces: map[string]cache.Config{w.namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", name)}},
				Transform:  trimPassword,
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	put := func(do func()) func(*cluster) {
		return func(*cluster) {
			if ctx.Err() == nil { // else it is not followed any more
				do()
			}
		}
	}
	r := w.routing
	one := &watcher{cache: c}
	return one, one.follow(ctx, &corev1.Secret{}, handler(w.feed,
		func(o *corev1.Secret) func(*cluster) {
			word := passwordOf(o)
			return put(func() { r.setPassword(o.Name, word) })
		},
		func(key types.NamespacedName) func(*cluster) { return put(func() { r.removePassword(key.Name) }) }))
}
