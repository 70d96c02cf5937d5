package gossip

import (
	"strconv"
	"testing"
)

// news feeds a book, and checks whether what it is told is news that holds.
type news struct {
	t *testing.T
	*book
}

func (n news) hears(node string, l life, seq uint64, build string, holds bool) {
	n.t.Helper()
	s := state{node: node, life: l, seq: seq, facts: Facts{Build: build}}
	if got := n.add(s, encodeState(s)); got != holds {
		n.t.Errorf("hearing of life %d, change %d: holds is %v", l, seq, got)
	}
}

func (n news) knows(node, build string) {
	n.t.Helper()
	f, known := n.facts(node)
	if known != (build != "") || f.Build != build {
		n.t.Errorf("knows %q of %s, want %q", f.Build, node, build)
	}
}

func TestBook(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(news)
	}{
		{"a member's state holds, the newest of them", func(n news) {
			n.joined("a", 1)
			n.knows("a", "")
			n.hears("a", 1, 5, "five", true)
			n.hears("a", 1, 4, "four", false)
			n.hears("a", 1, 5, "five again", false)
			n.knows("a", "five")
			n.hears("a", 1, 6, "six", true)
			n.knows("a", "six")
		}},
		{"a state that comes before its member is kept until then", func(n news) {
			n.hears("a", 1, 1, "early", false)
			n.knows("a", "")
			if !n.joined("a", 1) {
				n.t.Error("that it holds now is no news")
			}
			n.knows("a", "early")
		}},
		{"a new life makes the old one's state void", func(n news) {
			n.joined("a", 1)
			n.hears("a", 1, 9, "old", true)
			n.joined("a", 2)
			n.knows("a", "")
			n.hears("a", 1, 10, "old", false)
			n.knows("a", "")
			n.hears("a", 2, 1, "new", true)
			n.knows("a", "new")
			n.hears("a", 1, 11, "old", false)
			n.knows("a", "new")
		}},
		{"the new life's state may come first", func(n news) {
			n.joined("a", 1)
			n.hears("a", 1, 9, "old", true)
			n.hears("a", 2, 1, "new", false)
			n.knows("a", "old")
			n.joined("a", 2)
			n.knows("a", "new")
		}},
		{"one that was taken for dead by mistake is known when it is back", func(n news) {
			n.joined("a", 1)
			n.hears("a", 1, 9, "state", true)
			n.left("a")
			n.knows("a", "")
			n.joined("a", 1)
			n.knows("a", "state")
		}},
		{"one that nobody expects is forgotten when it is gone", func(n news) {
			n.joined("a", 1)
			n.joined("b", 1)
			n.hears("a", 1, 1, "state", true)
			n.hears("b", 1, 1, "state", true)
			n.left("a")
			n.left("b")
			n.left("never heard of")
			n.forget(func(node string) bool { return node == "b" })
			if len(n.pages) != 1 || n.pages["b"] == nil {
				n.t.Errorf("still has %d pages", len(n.pages))
			}
		}},
		{"parts are put together, of the newest state only", func(n news) {
			n.joined("a", 1)
			part := func(seq uint64, index int, data string, want string) {
				n.t.Helper()
				got, whole := n.addPart(part{node: "a", life: 1, seq: seq, index: index, count: 2, data: []byte(data)})
				if whole != (want != "") || string(got) != want {
					n.t.Errorf("part %d of %d gives %q, want %q", index, seq, got, want)
				}
			}
			part(1, 0, "old", "")
			part(2, 1, "world", "")
			part(1, 1, "older", "")
			part(2, 1, "twice", "")
			part(2, 0, "hello ", "hello world")
		}},
		{"parts of one that is no member are not kept", func(n news) {
			n.addPart(part{node: "a", life: 1, seq: 1, index: 0, count: 2, data: []byte("x")})
			if p := n.pages["a"]; p != nil && p.parts != nil {
				n.t.Error("they are")
			}
		}},
		{"made-up nodes don't fill the memory", func(n news) {
			for i := range 2 * maxPages {
				n.hears(string(rune('a'+i%26))+nodeName(i), 1, 1, "x", false)
			}
			if len(n.pages) > maxPages {
				n.t.Errorf("%d pages", len(n.pages))
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) { row.do(news{t, newBook("me")}) })
	}
}

func TestThereIsAnEndToMembers(t *testing.T) {
	var c crowd
	for i := range maxPages {
		if name := strconv.Itoa(i); c.admits(name) {
			c.enter(name)
		}
	}
	if c.admits("one more") || !c.admits("7") {
		t.Error("there is no bound, or one that holds for those that are there")
	}
	c.leave("7")
	if !c.admits("one more") {
		t.Error("nobody may come although one has left")
	}
}
