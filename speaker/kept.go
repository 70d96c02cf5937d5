package speaker

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// kept is what a cache holds in the place of an object of which there are many: its name, its version, and what the speaker
// makes of it, which the loop has, too. Objects of the API, even trimmed ones, are several times as big.
type kept[V any] struct {
	*metav1.ObjectMeta // nothing is in it: what a cache asks for is below
	key                types.NamespacedName
	version            string
	value              V // nil if the object says nothing
}

var noMeta = &metav1.ObjectMeta{}

func (k *kept[V]) GetNamespace() string       { return k.key.Namespace }
func (k *kept[V]) GetName() string            { return k.key.Name }
func (k *kept[V]) GetResourceVersion() string { return k.version }

// keep returns a transform for a cache. What has been through it goes through it unchanged.
func keep[T metav1.Object, V any](convert func(T) V) cache.TransformFunc {
	return func(in any) (any, error) {
		o, ok := in.(T)
		if !ok {
			return in, nil
		}
		return &kept[V]{ObjectMeta: noMeta, key: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()},
			version: o.GetResourceVersion(), value: convert(o)}, nil
	}
}

func keepServices(classes v1beta1.ServiceClasses) cache.TransformFunc {
	return keep(func(s *corev1.Service) *service { return serviceOf(s, classes) })
}

func keepSlices() cache.TransformFunc {
	return keep(func(s *discoveryv1.EndpointSlice) *slice { return sliceOf(s) })
}

// keptHandler returns what an informer calls whose cache keeps: set with what has become of each object, with nothing for
// those that are gone. What it returns is done by the loop.
func keptHandler[V any](f *feed, set func(types.NamespacedName, V) func(*cluster)) cache.ResourceEventHandler {
	put := func(o any) {
		if k, ok := o.(*kept[V]); ok {
			f.put(set(k.key, k.value))
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			if k, ok := o.(*kept[V]); ok {
				var none V
				f.put(set(k.key, none))
			}
		},
	}
}
