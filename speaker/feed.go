package speaker

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// feed brings what informers say to the loop, which takes it in when it is ready: informers do not wait.
type feed struct {
	signal chan struct{}

	mu    sync.Mutex
	queue []func(*cluster)
}

func newFeed() *feed { return &feed{signal: make(chan struct{}, 1)} }

// put has do done by the loop, in order.
func (f *feed) put(do func(*cluster)) {
	f.mu.Lock()
	f.queue = append(f.queue, do)
	f.mu.Unlock()
	f.poke()
}

// poke makes the loop look.
func (f *feed) poke() {
	select {
	case f.signal <- struct{}{}:
	default:
	}
}

func (f *feed) take() []func(*cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.queue
	f.queue = nil
	return taken
}

// handler returns what an informer calls: set with each object that comes or changes, and gone with the
// name of each that goes. What set and gone return is done by the loop; nil is nothing to do.
func handler[T client.Object](f *feed, set func(T) func(*cluster), gone func(types.NamespacedName) func(*cluster)) cache.ResourceEventHandler {
	put := func(do func(*cluster)) {
		if do != nil {
			f.put(do)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { put(set(o.(T))) },
		UpdateFunc: func(_, o any) { put(set(o.(T))) },
		DeleteFunc: func(o any) {
			if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tombstone.Obj
			}
			if o, ok := o.(T); ok {
				put(gone(client.ObjectKeyFromObject(o)))
			}
		},
	}
}
