package speaker

import "sync"

// inbox is a queue that its writers never wait for. Its reader is woken by signal.
type inbox[T any] struct {
	signal chan struct{}
	// limit is how many may wait; what comes then is dropped and told to dropped. 0 is no limit.
	limit   int
	dropped func()

	mu    sync.Mutex
	queue []T
}

func newInbox[T any](limit int, dropped func()) *inbox[T] {
	return &inbox[T]{signal: make(chan struct{}, 1), limit: limit, dropped: dropped}
}

func (b *inbox[T]) put(items ...T) {
	if b.add(items...) {
		b.poke()
	}
}

// add puts items in without waking the reader, which finds them when it comes round. It reports whether there was room.
func (b *inbox[T]) add(items ...T) bool {
	b.mu.Lock()
	room := b.limit == 0 || len(b.queue)+len(items) <= b.limit
	if room {
		b.queue = append(b.queue, items...)
	}
	b.mu.Unlock()
	if !room {
		b.dropped()
	}
	return room
}

// poke wakes the reader.
func (b *inbox[T]) poke() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *inbox[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.queue
	b.queue = nil
	return taken
}
