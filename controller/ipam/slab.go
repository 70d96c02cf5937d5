package ipam

// id is the place of a thing in a slab; 0 is nothing.
type id uint32

// slab keeps values of one type side by side, addressed by small numbers. A million addresses in use are a
// million claims and as many holders; as values without a header and a pointer each they fit where separate
// allocations would not.
type slab[T any] struct {
	chunks [][]T
	freed  []id
	last   id
}

const slabChunk = 1 << 10

// at returns the value at i. The pointer is good until the value is freed.
func (s *slab[T]) at(i id) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// alloc returns the place of a new zero value.
func (s *slab[T]) alloc() id {
	if n := len(s.freed); n > 0 {
		i := s.freed[n-1]
		s.freed = s.freed[:n-1]
		return i
	}
	s.last++
	if int(s.last/slabChunk) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, slabChunk))
	}
	return s.last
}

func (s *slab[T]) free(i id) {
	var zero T
	*s.at(i) = zero
	s.freed = append(s.freed, i)
}

// index finds things in a slab by the hash of their key. It stores places and hashes; the keys are in the slab, which
// is looked at only where a hash fits. Linear probing, at most three quarters full; a deletion moves back what it
// left a gap for, so that there are no tombstones.
type index struct {
	cells []cell
	used  int
}

type cell struct {
	hash uint32
	id   id
}

// find returns the place among those with this hash for which is holds, or 0.
func (x *index) find(hash uint32, is func(id) bool) id {
	if x.used == 0 {
		return 0
	}
	mask := uint32(len(x.cells) - 1)
	for c := hash & mask; x.cells[c].id != 0; c = (c + 1) & mask {
		if x.cells[c].hash == hash && is(x.cells[c].id) {
			return x.cells[c].id
		}
	}
	return 0
}

// insert adds a place that is not there yet.
func (x *index) insert(hash uint32, i id) {
	if 4*(x.used+1) > 3*len(x.cells) {
		old := x.cells
		x.cells = make([]cell, max(16, 2*len(old)))
		for _, c := range old {
			if c.id != 0 {
				x.set(c)
			}
		}
	}
	x.set(cell{hash, i})
	x.used++
}

func (x *index) set(it cell) {
	mask := uint32(len(x.cells) - 1)
	c := it.hash & mask
	for x.cells[c].id != 0 {
		c = (c + 1) & mask
	}
	x.cells[c] = it
}

// remove takes out a place that is there.
func (x *index) remove(hash uint32, i id) {
	mask := uint32(len(x.cells) - 1)
	gap := hash & mask
	for x.cells[gap].id != i {
		gap = (gap + 1) & mask
	}
	for c := (gap + 1) & mask; x.cells[c].id != 0; c = (c + 1) & mask {
		// What is at c may move to the gap unless its own cell lies cyclically in (gap, c].
		if home := x.cells[c].hash & mask; (c-home)&mask >= (c-gap)&mask {
			x.cells[gap] = x.cells[c]
			gap = c
		}
	}
	x.cells[gap] = cell{}
	x.used--
}
