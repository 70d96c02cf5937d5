package layer2

import "sync"

// published is a value that one goroutine stores and others load and wait for.
type published[T any] struct {
	mu      sync.Mutex
	value   T
	changed chan struct{}
}

func (p *published[T]) init(v T) { p.value, p.changed = v, make(chan struct{}) }

// store sets the value and wakes up who waits for a change.
func (p *published[T]) store(v T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value = v
	close(p.changed)
	p.changed = make(chan struct{})
}

// load returns the value and a channel that is closed when it is no longer the
// last one.
func (p *published[T]) load() (T, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.value, p.changed
}
