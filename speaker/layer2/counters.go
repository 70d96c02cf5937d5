package layer2

// A DropReason says why a frame that reached this process was not answered.
// (Requests for other hosts' addresses are mostly dropped in the kernel, where
// nobody counts them.)
type DropReason string

// Counters are totals since the Announcer was made; they only grow.
type Counters struct {
	// Answered counts the requests answered, by family.
	Answered map[Family]uint64
	// Dropped counts the frames not answered, by family and reason.
	Dropped map[Family]map[DropReason]uint64
	// Gratuitous counts the frames sent unasked, by family.
	Gratuitous map[Family]uint64
}
