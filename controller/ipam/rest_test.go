package ipam

import (
	"strconv"
	"testing"
	"time"
)

// No more addresses rest than a pool's status has room for; the one that has rested longest goes first.
func TestOnlySoManyAddressesRest(t *testing.T) {
	a := New()
	a.Advance(newYear)
	a.SetPools([]Pool{auto("lab", "10.0.0.0/16", reuseDelay(3600))})
	request := func(i int) Request {
		return Request{Service: key(strconv.Itoa(i)), Families: []Family{IPv4}}
	}
	for i := range MaxResting + 2 {
		a.Assign(request(i))
	}
	for i := range MaxResting + 2 {
		a.Advance(newYear.Add(time.Duration(i) * time.Second))
		a.Release(request(i).Service)
	}
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	rests := a.Resting("lab")
	if u, _ := a.Usage("lab"); len(rests) != MaxResting || u.IPv4.Resting != MaxResting || rests[0].Address != addrs("10.0.0.2")[0] {
		t.Errorf("%d rest, %d are counted, the first is %v", len(rests), u.IPv4.Resting, rests[0])
	}
	if d := a.Assign(request(MaxResting + 2)); says(d) != "10.0.0.0" {
		t.Errorf("%s is given out, want what had rested longest", says(d))
	}

	// The same after a restart.
	b := New()
	b.SetPools([]Pool{auto("lab", "10.0.0.0/16", reuseDelay(3600))})
	next := b.Advance(newYear.Add(time.Hour))
	if !next.IsZero() {
		t.Errorf("something is to rest until %s before anything was restored", next)
	}
	b.RestoreResting(rests)
	if next = b.Advance(newYear.Add(time.Hour)); !next.Equal(rests[0].Until) {
		t.Errorf("the next is free at %s, want %s", next, rests[0].Until)
	}
	if err := b.Check(); err != nil {
		t.Fatal(err)
	}
	if d := b.Assign(request(2)); says(d) != "10.0.0.2" {
		t.Errorf("it gets %s, not what rests for it", says(d))
	}
}

// What stands in a status has whole seconds, and no address is to be had early.
func TestRestsEndOnAWholeSecond(t *testing.T) {
	a := New()
	a.Advance(newYear.Add(time.Millisecond))
	a.SetPools([]Pool{auto("lab", "10.0.0.0/24", reuseDelay(5))})
	a.Assign(Request{Service: key("s"), Families: []Family{IPv4}})
	a.Release(key("s"))
	if until := a.Resting("lab")[0].Until; !until.Equal(newYear.Add(6 * time.Second)) {
		t.Errorf("it rests until %s", until)
	}
}
