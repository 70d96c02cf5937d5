package layer2

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// refusals are the addresses that cannot be listened for, and why: one address
// whose group cannot be joined is no reason to be silent about the others. All of
// them are tried again together, after a while that doubles up to a limit.
type refusals struct {
	errs     map[netip.Addr]error
	failures int       // tries in a row after which there was an address left
	retryAt  time.Time // zero when there is nothing to try, or it is being tried
}

// add notes that listening for an address failed.
func (r *refusals) add(now time.Time, a netip.Addr, err error) {
	r.errs[a] = err
	if r.retryAt.IsZero() {
		r.failures++
		r.retryAt = now.Add(retryDelay(r.failures))
	}
}

// forget is for an address that is listened for, or no longer wanted.
func (r *refusals) forget(a netip.Addr) {
	delete(r.errs, a)
	if len(r.errs) == 0 {
		r.failures, r.retryAt = 0, time.Time{}
	}
}

// due returns the addresses to try again now. They stay refused until then.
func (r *refusals) due(now time.Time) []netip.Addr {
	if r.retryAt.IsZero() || now.Before(r.retryAt) {
		return nil
	}
	r.retryAt = time.Time{}
	return slices.SortedFunc(maps.Keys(r.errs), netip.Addr.Compare)
}

// list returns the refusals in order of address.
func (r *refusals) list() []Failure {
	var all []Failure
	for _, a := range slices.SortedFunc(maps.Keys(r.errs), netip.Addr.Compare) {
		all = append(all, Failure{a, r.errs[a].Error()})
	}
	return all
}

// served is what a responder has in force: what it listens for and what it
// cannot listen for; immutable. It is nil before the first time.
type served struct {
	answered  []netip.Addr
	failures  []Failure
	claiming  []netip.Addr
	conflicts []Conflict
	proxies   []MAC
}

// show fills in what there is to be seen of a responder at work. A segment of
// which nothing is answered because all was refused has failed.
func (s *served) show(seg *Segment) {
	if s == nil {
		return
	}
	seg.Answered, seg.Failures = s.answered, s.failures
	seg.Claiming, seg.Conflicts, seg.Proxies = s.claiming, s.conflicts, s.proxies
	if len(s.answered) == 0 && len(s.failures) > 0 {
		seg.Status, seg.Error = Failed, s.failures[0].Error
		return
	}
	seg.Status = Answering
}
