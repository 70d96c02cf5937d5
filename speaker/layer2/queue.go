package layer2

import "container/heap"

// A queue has the item at hand that comes before all others, and lets go of any. It is a heap whose items know their places.
// An item is in one queue at a time.
type queue[T interface{ at() *place }] struct {
	items  []T
	before func(a, b T) bool
}

// A place is where an item is in its queue; items embed it.
type place struct{ index int }

func (p *place) at() *place { return p }

func (q *queue[T]) first() T { return q.items[0] }
func (q *queue[T]) push(x T) { heap.Push(q, x) }
func (q *queue[T]) pop() T   { return heap.Pop(q).(T) }

// remove takes an item out of the queue that it is in.
func (q *queue[T]) remove(x T) { heap.Remove(q, x.at().index) }

// moved puts an item in order that comes earlier or later than before.
func (q *queue[T]) moved(x T) { heap.Fix(q, x.at().index) }

// Len, Less, Swap, Push and Pop implement [heap.Interface].
func (q *queue[T]) Len() int           { return len(q.items) }
func (q *queue[T]) Less(i, j int) bool { return q.before(q.items[i], q.items[j]) }

func (q *queue[T]) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].at().index, q.items[j].at().index = i, j
}

func (q *queue[T]) Push(x any) {
	item := x.(T)
	item.at().index = len(q.items)
	q.items = append(q.items, item)
}

func (q *queue[T]) Pop() any {
	last := len(q.items) - 1
	item := q.items[last]
	var none T
	q.items[last] = none
	q.items = q.items[:last]
	return item
}
