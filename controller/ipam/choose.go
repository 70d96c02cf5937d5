package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// choice is a decision in the making. It refers to the ledger, and changes nothing in it.
type choice struct {
	outcome Outcome
	grants  []grant
	reason  clarion.Reason
	text    string // why not, or what is still missing
	lost    []id   // claims on what goes to another Service that has it too
	story   []Verdict
	causes  []Cause
	keeping bool         // refused, and the grants are what the Service had before
	shares  []netip.Addr // that others have too, against the rules
}

// grant is an address that the Service is to hold; claim is 0 when it does not yet.
type grant struct {
	addr   num
	pool   *pool
	claim  id
	within bool // it costs nothing of the namespace's quota: another Service of it has the address already
}

// choose decides what a Service should hold. The steps, in order:
//
//	read what it asks for                 → InvalidRequest, FamilyMismatch, NoClusterIP, PoolNotFound
//	keep what it has and may keep, if no other Service has the better right to it
//	find what is missing
//	  the addresses that it names         → AddressNotInPool, AddressExcluded, AddressInUse, …
//	  else both families from one pool: one where Services have both under its sharing key, then one that has one of them,
//	    then the first pool that can give both
//	  else each family from the first pool that can; in a pool an address under its sharing key comes first, then one that
//	    rests for it
//	both or neither; for PreferDualStack also one, named or not, if that costs no address that it has
//
// A refusal keeps everything that the Service has, of the families that it has.
func (a *Allocator) choose(r Request, h id) choice {
	s := &search{a: a, r: r, holder: h, terms: termsOf(r)}
	s.judge()
	wanted, refusal := a.read(r)
	if refusal != nil {
		var causes []Cause
		if refusal.Reason == clarion.ReasonPoolNotFound {
			causes = []Cause{{Kind: CauseRules, Pool: r.Pool}}
		}
		return s.refuse(*refusal, causes) // of the others, only the Service itself can change any
	}
	var missing []Family
	for _, f := range wanted {
		if g, ok := s.kept(f); ok {
			s.grants = append(s.grants, g)
		} else {
			missing = append(missing, f)
		}
	}

	var left []Family // what could not be found
	switch {
	case len(missing) == 0:
	case len(r.Addresses) > 0:
		return s.fillNamed(wanted, missing)
	default:
		left = s.fill(missing)
	}

	s.order(wanted)
	c := choice{outcome: Granted, grants: s.grants, reason: clarion.ReasonAssigned, lost: s.lost()}
	s.tolerate(&c)
	if len(left) == 0 {
		return c
	}
	story, causes := s.story(left)
	c.story, c.causes = story, append(causes, c.causes...)
	lacks := missingText(left, c.story)
	c.text = joinClauses(c.text, lacks)
	if r.Policy != PreferDualStack || len(s.grants) == 0 || s.loses {
		return s.refuse(Verdict{Reason: summary(c.story, r.Pool != ""), Text: lacks}, causes).withStory(c.story)
	}
	return c
}

// fillNamed grants the addresses of the missing families that the Service names: all of them or none; for PreferDualStack
// also one, if that costs no address that it has.
func (s *search) fillNamed(wanted, missing []Family) choice {
	had := slices.Clip(s.grants)
	left, causes := s.tryNamed(missing)
	if s.r.Policy == PreferDualStack && len(missing) == 2 && len(left) == 1 && s.loses {
		// The first family may have used up the quota that the second had: the other way round.
		first := *s
		s.grants, s.loses = had, false
		other, why := s.tryNamed([]Family{missing[1], missing[0]})
		if len(other) > 0 && s.loses {
			s.grants, s.loses = first.grants, true
		} else {
			left = other
		}
		causes = append(causes, why...)
	}
	var texts []string
	var story []Verdict
	for _, v := range left {
		texts = append(texts, v.Text)
		if v.Pool != "" {
			story = append(story, v)
		}
	}
	text := strings.Join(texts, "; ")
	if len(left) > 0 && (s.r.Policy != PreferDualStack || len(s.grants) == 0 || s.loses) {
		return s.refuse(Verdict{Reason: left[0].Reason, Text: text}, causes).withStory(story)
	}
	s.order(wanted)
	c := choice{outcome: Granted, grants: s.grants, reason: clarion.ReasonAssigned, story: story, causes: causes,
		text: text, lost: s.lost()}
	s.tolerate(&c)
	return c
}

// tryNamed grants the addresses of families that the Service names, one after the other, and tells of each that it can't have. s.loses
// is set where the Service has another address of such a family.
func (s *search) tryNamed(families []Family) (left []Verdict, causes []Cause) {
	for _, f := range families {
		v, why := s.named(f)
		if v == nil {
			continue
		}
		left, causes = append(left, *v), append(causes, why...)
		s.loses = s.loses || s.shows(f)
		if s.r.Policy != PreferDualStack {
			break
		}
	}
	return left, causes
}

func (c choice) withStory(story []Verdict) choice {
	c.story = story
	return c
}

// refuse keeps what the Service has: what was written to its status; or what its status shows, when that is a write
// of which we never heard that it came through.
// What another Service has the better right to is given up even so, and what is of a family that it has no more.
func (s *search) refuse(v Verdict, causes []Cause) choice {
	r := s.r
	c := choice{outcome: Refused, reason: v.Reason, text: v.Text, lost: s.lost(), causes: causes}
	if v.Pool != "" {
		c.story = []Verdict{v}
	}
	var written, shown []grant
	unheard := false
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		g := grant{addr: it.addr, pool: s.a.poolOf(it), claim: i}
		if its := (Cause{Kind: CauseRules, Pool: g.pool.Name}); len(causes) > 0 && !slices.Contains(c.causes, its) {
			c.causes = append(slices.Clip(c.causes), its) // which says whether it has to give it up
		}
		if s.fit[i] == loses || len(r.Families) > 0 && !slices.Contains(r.Families, familyOf(it.addr)) {
			return true // nothing would carry the traffic of a family that the Service does not have any more
		}
		if at := s.a.sites[it.addr]; len(causes) > 0 && at != nil && at.mates > 1 {
			// Those who have it too may be what keeps it from counting where the Service wants it, or from being its.
			c.causes = append(slices.Clip(c.causes), Cause{Kind: CauseAddress, Address: addrOf(it.addr), Holding: true})
		}
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
	s.tolerate(&c)
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

// judge finds how the Service stands at each address that it has.
func (s *search) judge() {
	s.a.ledger.of(s.holder, func(i id, _ *claim) bool {
		if how, _ := s.a.fitting(i, s.r.createdAt(), s.terms); how != fits {
			if s.fit == nil {
				s.fit = map[id]fit{}
			}
			s.fit[i] = how
		}
		return true
	})
}

// tolerate has a choice tell which addresses the Service keeps together with others against the rules.
func (s *search) tolerate(c *choice) {
	var addrs []netip.Addr
	for _, g := range c.grants {
		if s.fit[g.claim] == tolerated {
			addrs = append(addrs, addrOf(g.addr))
			c.causes = append(slices.Clip(c.causes), Cause{Kind: CauseAddress, Address: addrOf(g.addr), Holding: true})
		}
	}
	if len(addrs) == 0 {
		return
	}
	c.shares = addrs
	c.text = joinClauses(c.text, listAddrs(addrs)+" is another Service's too, which this one may not share it with; both had it before and keep it")
	if c.outcome == Granted {
		c.reason = clarion.ReasonSharedAgainstRules
	}
}

// lost are the claims that the Service gives up because another one has the better right to the addresses.
func (s *search) lost() (out []id) {
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		if s.fit[i] == loses && (!it.leaving || it.right.is(yielded)) {
			out = append(out, i)
		}
		return true
	})
	return out
}
