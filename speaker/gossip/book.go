package gossip

import (
	"maps"
	"slices"
)

// A book holds the states heard of, and knows which of them hold. It is pure; it belongs to the owner
// goroutine.
//
// A state holds while memberlist says that its node is a member in that very life. What is heard of
// another life is kept aside, one state per node: it is of a life that is over, or of one that memberlist
// will tell of in a moment.
type book struct {
	self  string
	pages map[string]*page
}

type page struct {
	member life // 0 while not a member
	now    *entry
	aside  *entry
	parts  *partial
}

type entry struct {
	state   state
	encoded []byte
}

// partial is a state of which not all parts have come.
type partial struct {
	life  life
	seq   uint64
	parts [][]byte
	left  int
}

func newBook(self string) *book { return &book{self: self, pages: map[string]*page{}} }

// maxPages bounds the book against members that make up nodes.
const maxPages = 4096

func (b *book) page(node string) *page {
	p := b.pages[node]
	if p == nil {
		if len(b.pages) >= maxPages {
			return &page{} // forgotten at once
		}
		p = &page{}
		b.pages[node] = p
	}
	return p
}

// joined notes that node is a member in the given life, and reports whether a state that was kept aside
// holds now.
func (b *book) joined(node string, l life) bool {
	p := b.page(node)
	if p.member == l {
		return false
	}
	before := p.now
	p.member, p.now = l, nil
	if p.aside != nil && p.aside.state.life == l {
		p.now, p.aside = p.aside, nil
		return true
	}
	if before != nil {
		p.aside = before
	}
	return false
}

// left notes that node is no member any more. Its state is kept aside: if it was declared dead by mistake,
// it comes back in the same life.
func (b *book) left(node string) {
	p := b.pages[node]
	if p == nil {
		return
	}
	if p.now != nil {
		p.aside = p.now
	}
	p.member, p.now, p.parts = 0, nil, nil
}

// forget drops nodes that are no members and not expected either.
func (b *book) forget(expected func(node string) bool) {
	maps.DeleteFunc(b.pages, func(node string, p *page) bool { return p.member == 0 && !expected(node) })
}

// add takes in a state of another node, and reports whether it is news that holds.
func (b *book) add(s state, encoded []byte) bool {
	p := b.page(s.node)
	slot := &p.aside
	if s.life == p.member {
		slot = &p.now
	}
	if e := *slot; e != nil && e.state.life == s.life && e.state.seq >= s.seq {
		return false
	}
	*slot = &entry{state: s, encoded: encoded}
	return slot == &p.now
}

// addPart takes in a part of a member's state, and returns the whole once its last part has come.
func (b *book) addPart(in part) (encoded []byte, whole bool) {
	p := b.page(in.node)
	if p.member != in.life {
		return nil, false
	}
	if p.now != nil && p.now.state.life == in.life && p.now.state.seq >= in.seq {
		return nil, false
	}
	w := p.parts
	switch {
	case w == nil || w.life != in.life || w.seq < in.seq || len(w.parts) != in.count:
		w = &partial{life: in.life, seq: in.seq, parts: make([][]byte, in.count), left: in.count}
		p.parts = w
	case w.seq > in.seq:
		return nil, false
	}
	if w.parts[in.index] != nil {
		return nil, false
	}
	w.parts[in.index] = in.data
	if w.left--; w.left > 0 {
		return nil, false
	}
	p.parts = nil
	return slices.Concat(w.parts...), true
}

// facts returns what holds of a node.
func (b *book) facts(node string) (Facts, bool) {
	if p := b.pages[node]; p != nil && p.now != nil {
		return p.now.state.facts, true
	}
	return Facts{}, false
}

// last returns what a node said last, though it may hold no more: of a member, of a life that is over; of a node that is
// no member, of the life that was lost.
func (b *book) last(node string) (Facts, bool) {
	p := b.pages[node]
	switch {
	case p == nil:
	case p.now != nil:
		return p.now.state.facts, true
	case p.aside != nil:
		return p.aside.state.facts, true
	}
	return Facts{}, false
}

// encoded returns all states that hold, and what those said last that are lost, in order of their nodes.
func (b *book) encoded() [][]byte {
	var all [][]byte
	for _, node := range slices.Sorted(maps.Keys(b.pages)) {
		switch p := b.pages[node]; {
		case p.now != nil:
			all = append(all, p.now.encoded)
		case p.aside != nil && p.member == 0:
			all = append(all, p.aside.encoded)
		}
	}
	return all
}
