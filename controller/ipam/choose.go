package ipam

import (
	"fmt"
	"slices"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// choice is a decision in the making. It refers to the ledger, and changes nothing in it.
type choice struct {
	outcome Outcome
	grants  []grant
	reason  clarion.Reason
	text    string // why not, or what is still missing
	story   []Verdict
	causes  []Cause
	keeping bool // refused, and the grants are what the Service had before
}

// grant is an address that the Service is to hold; claim is 0 when it does not yet.
type grant struct {
	addr  num
	pool  *pool
	claim id
}

// choose decides what a Service should hold. The steps, in order:
//
//	read what it asks for                 → InvalidRequest, FamilyMismatch, NoClusterIP, PoolNotFound
//	keep what it has and may keep         → AddressInUse, if by an edit it shares a port there
//	find what is missing
//	  the addresses that it names         → AddressNotInPool, AddressExcluded, AddressInUse, …
//	  else both families from one pool, the first that has them
//	  else each family from the first pool that has it
//	both or neither; for PreferDualStack also one, if that costs no address that it has
//
// A refusal keeps everything that the Service has.
func (a *Allocator) choose(r Request, h id) choice {
	wanted, refusal := a.read(r)
	if refusal != nil {
		return a.refuse(r, h, *refusal, nil)
	}

	s := &search{a: a, r: r, holder: h}
	var missing []Family
	for _, f := range wanted {
		if g, ok := s.kept(f); ok {
			if v, cause := s.shared(g); v != nil {
				return a.refuse(r, h, *v, []Cause{cause})
			}
			s.grants = append(s.grants, g)
		} else {
			missing = append(missing, f)
		}
	}

	var left []Family // what could not be found
	switch {
	case len(missing) == 0:
	case len(r.Addresses) > 0:
		for _, f := range missing {
			if v, causes := s.named(f); v != nil {
				return a.refuse(r, h, *v, causes)
			}
		}
	default:
		left = s.fill(missing)
	}

	s.order(wanted)
	c := choice{outcome: Granted, grants: s.grants, reason: clarion.ReasonAssigned}
	if len(left) == 0 {
		return c
	}
	c.story, c.causes = s.story(left)
	c.text = missingText(left, c.story)
	if r.Policy != PreferDualStack || len(s.grants) == 0 || s.loses {
		return a.refuse(r, h, Verdict{Reason: summary(c.story, r.Pool != ""), Text: c.text}, c.causes).withStory(c.story)
	}
	return c
}

func (c choice) withStory(story []Verdict) choice {
	c.story = story
	return c
}

// refuse keeps what the Service has: what was written to its status; or what its status shows, when that is a write
// of which we never heard that it came through.
func (a *Allocator) refuse(r Request, h id, v Verdict, causes []Cause) choice {
	c := choice{outcome: Refused, reason: v.Reason, text: v.Text, causes: causes}
	if v.Pool != "" {
		c.story = []Verdict{v}
	}
	if !slices.Contains(c.causes, Cause{Kind: CausePools}) {
		c.causes = append(slices.Clip(c.causes), Cause{Kind: CausePools})
	}
	var written, shown []grant
	unheard := false
	a.ledger.of(h, func(i id, it *claim) bool {
		g := grant{it.addr, it.pool, i}
		if it.written {
			written = append(written, g)
		}
		if slices.Contains(r.Status.Addresses, addrOf(it.addr)) {
			shown = append(shown, g)
			unheard = unheard || !it.written
		}
		return true
	})
	c.grants = written
	if unheard {
		c.grants = shown
	}
	c.keeping = len(c.grants) > 0
	return c
}

// read checks a request against itself and returns the families that the Service is due.
func (a *Allocator) read(r Request) (wanted []Family, refusal *Verdict) {
	no := func(reason clarion.Reason, format string, args ...any) ([]Family, *Verdict) {
		return nil, &Verdict{Reason: reason, Text: fmt.Sprintf(format, args...)}
	}
	if r.Unreadable != nil {
		return no(r.Unreadable.Reason, "%s", r.Unreadable.Message)
	}
	if len(r.Families) == 0 {
		return no(clarion.ReasonNoClusterIP, "the Service has no cluster IP, so nothing would carry its traffic")
	}
	wanted = r.Families[:min(2, len(r.Families))]
	if len(wanted) == 2 && wanted[0] == wanted[1] || r.Policy == SingleStack || r.Policy == "" {
		wanted = wanted[:1]
	}
	if r.Policy == RequireDualStack && len(wanted) < 2 {
		return no(clarion.ReasonFamilyMismatch, "ipFamilyPolicy is RequireDualStack, but the Service's cluster IPs are %s only", wanted[0])
	}

	for i, addr := range r.Addresses {
		f := FamilyOf(addr)
		if why := whyNever(addr); why != "" {
			return no(clarion.ReasonInvalidRequest, "%s is asked for, but that is %s and can't be a Service's address", addr, why)
		}
		if !slices.Contains(wanted, f) {
			return no(clarion.ReasonFamilyMismatch, "%s is asked for, but the Service is %s only", addr, wanted[0])
		}
		for _, other := range r.Addresses[:i] {
			if FamilyOf(other) == f {
				return no(clarion.ReasonInvalidRequest, "%s and %s are both %s: ask for at most one address of each family", other, addr, f)
			}
		}
	}
	if n := len(r.Addresses); n > 0 && n < len(wanted) {
		return no(clarion.ReasonFamilyMismatch, "%s is asked for, but the Service is dual-stack: ask for one address of each family, or for none", r.Addresses[0])
	}
	if r.Pool != "" {
		if p := a.pools[r.Pool]; p == nil || !p.exists {
			return no(clarion.ReasonPoolNotFound, "pool %s is asked for, but there is no such IPAddressPool", r.Pool)
		}
	}
	return wanted, nil
}
