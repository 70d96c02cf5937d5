package ipam

import (
	"fmt"
	"net/netip"
	"slices"

	"go4.org/netipx"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// search looks for the addresses of one Service.
type search struct {
	a        *Allocator
	r        Request
	holder   id
	terms    terms
	fit      map[id]fit // of claims that are not simply the Service's
	grants   []grant
	verdicts []familyVerdict
	causes   []Cause // besides those of the verdicts
	loses    bool    // see attempt
	fence    *pool   // a pool that keeps the Service from pools that do not select it
	fenced   bool    // fence has been looked for
}

// familyVerdict says why a pool did not give an address of a family, and what would change that.
type familyVerdict struct {
	Verdict
	family Family
	any    bool // the verdict is on the pool, whatever the family
	causes []Cause
}

// kept returns the address of a family that the Service has and that its request allows: rather one that its status
// shows, so that a change which is taken back before it was written moves nothing, and rather one that it is not giving
// up.
func (s *search) kept(f Family) (best grant, ok bool) {
	bestRank := -1
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		if familyOf(it.addr) != f || s.fit[i] == loses || !s.allowed(it) {
			return true
		}
		rank := 0
		if slices.Contains(s.r.Status.Addresses, addrOf(it.addr)) {
			rank += 2
		}
		if !it.leaving {
			rank++
		}
		if rank > bestRank {
			best, bestRank = grant{addr: it.addr, pool: s.pool(it), claim: i}, rank
		}
		return true
	})
	return best, bestRank >= 0
}

// allowed reports whether the request lets the Service keep a claim. Which Services a pool serves, or whether it
// still covers the address, does not matter: an edit of a pool never moves a live address, unless the operator
// releases orphans.
func (s *search) allowed(it *claim) bool {
	if len(s.r.Addresses) > 0 && !slices.Contains(s.r.Addresses, addrOf(it.addr)) {
		return false
	}
	if p := s.pool(it); s.r.Pool == "" || p.Name == s.r.Pool {
		return !p.releases(it.addr)
	}
	return false
}

// pool returns the pool that an address counts in when the Service keeps it: the one that it asks for, where that is
// the one to give it out by now.
func (s *search) pool(it *claim) *pool {
	p := s.a.poolOf(it)
	if s.r.Pool == "" || s.r.Pool == p.Name || s.a.asked(it.addr, p, s.holder) {
		return p
	}
	if owner := s.a.atlas.owner(it.addr); owner != nil && owner.Name == s.r.Pool && owner.gives(it.addr) {
		if v, _ := s.serves(owner, true); v == nil {
			return owner
		}
	}
	return p
}

// order puts the grants in the order of the Service's families; when they are just what its status shows, in the
// order there, so that a restart changes nothing.
func (s *search) order(wanted []Family) {
	at := s.r.Status.Addresses
	slices.SortFunc(s.grants, func(x, y grant) int {
		return slices.Index(wanted, familyOf(x.addr)) - slices.Index(wanted, familyOf(y.addr))
	})
	if len(at) != len(s.grants) {
		return
	}
	for _, g := range s.grants {
		if !slices.Contains(at, addrOf(g.addr)) {
			return
		}
	}
	slices.SortFunc(s.grants, func(x, y grant) int {
		return slices.Index(at, addrOf(x.addr)) - slices.Index(at, addrOf(y.addr))
	})
}

// named grants the address of a family that the Service asks for, or says why not.
func (s *search) named(f Family) (*Verdict, []Cause) {
	addr := s.r.Addresses[slices.IndexFunc(s.r.Addresses, func(a netip.Addr) bool { return FamilyOf(a) == f })]
	n := numOf(addr)
	no := func(p *pool, reason clarion.Reason, format string, args ...any) *Verdict {
		v := &Verdict{Reason: reason, Text: fmt.Sprintf("%s is asked for, but ", addr) + fmt.Sprintf(format, args...)}
		if p != nil {
			v.Pool = p.Name
		}
		return v
	}
	p := s.a.atlas.owner(n)
	causes := append(s.byLabels(), Cause{Kind: CausePools, Address: addr})
	if s.r.Pool != "" {
		causes = append(causes, Cause{Kind: CauseRules, Pool: s.r.Pool}) // which may go
	}
	if p == nil {
		for _, p := range s.a.order {
			if p.Invalid == "" && slices.ContainsFunc(p.Ranges, func(r netipx.IPRange) bool { return r.Contains(addr) }) {
				return no(p, clarion.ReasonAddressExcluded, "pool %s excludes it", p.Name), causes
			}
		}
		return no(nil, clarion.ReasonAddressNotInPool, "no pool has it%s", s.a.unreadable()), causes
	}
	if s.r.Pool != "" && p.Name != s.r.Pool {
		return no(p, clarion.ReasonAddressNotInPool, "it is in pool %s, not in pool %s that is asked for too", p.Name, s.r.Pool), causes
	}
	if v, why := s.serves(p, true); v != nil {
		return no(p, v.Reason, "pool %s %s", p.Name, v.Text), append(causes, why...)
	}
	causes = append(causes, Cause{Kind: CauseRules, Pool: p.Name}, Cause{Kind: CauseRange, Pool: p.Name})
	if !p.rule.holds(n) {
		return no(p, clarion.ReasonAddressExcluded, "pool %s avoids addresses that end in .0 or .255 (avoidBuggyIPs)", p.Name), causes
	}
	if why := s.a.reserved.why(n); why != "" {
		return no(p, clarion.ReasonAddressExcluded, "it is %s", why), causes
	}
	causes = append(causes, s.mates(p, n)...)
	switch rest := s.a.rests.byAddr[n]; {
	case rest != nil && rest.key != s.r.Service:
		return no(p, clarion.ReasonAddressResting, "another Service gave it up and pool %s lets it rest until %s (reuseDelay)",
			p.Name, rest.until.UTC().Format(timeFormat)), append(causes, Cause{Kind: CauseAddress, Address: addr})
	case rest == nil && !p.free[f].has(n):
		g, reason, text, why := s.joinNamed(p, n)
		if reason != "" {
			return no(p, reason, "%s", text), append(causes, why...)
		}
		s.grants = append(s.grants, g)
		return nil, nil
	}
	if !s.quotaLeft(p, 1) {
		v, cause := s.quotaVerdict(p)
		return no(p, v.Reason, "pool %s: %s", p.Name, v.Text), append(causes, cause)
	}
	s.grants = append(s.grants, grant{addr: n, pool: p})
	return nil, nil
}

// unreadable tells of pools that can't be read, for a Service that asks for an address which no other has: it may be theirs.
func (a *Allocator) unreadable() string {
	var names []string
	for _, p := range a.order {
		if p.Invalid != "" {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	if more := len(names) - storyPools; more > 0 {
		names = append(names[:storyPools:storyPools], fmt.Sprintf("and %d more", more))
	}
	return " that is ready (not ready: " + joinTexts(names) + ")"
}

// fill grants an address for each missing family, and returns the families for which there is none.
func (s *search) fill(missing []Family) (left []Family) {
	candidates := s.candidates()
	if len(missing) == 2 {
		if p := s.both(candidates, missing); p != nil {
			s.grant(p, missing[0])
			s.grant(p, missing[1])
			return nil
		}
	}
	best := s.attempt(candidates, missing)
	if len(best.left) > 0 && len(missing) == 2 {
		// The first family may have used up the quota of the only pool that has the second: the other way round.
		other := s.attempt(candidates, []Family{missing[1], missing[0]})
		if len(other.left) == 0 || best.loses && !other.loses {
			best, other = other, best
		}
		for _, v := range other.why {
			s.causes = append(s.causes, v.causes...)
		}
		s.causes = append(append(s.causes, best.causes...), other.causes...)
	}
	s.grants = append(s.grants, best.grants...)
	s.verdicts = append(s.verdicts, best.why...)
	s.loses = best.loses
	return best.left
}

// attempt is what comes of looking for families in an order.
type attempt struct {
	grants []grant
	left   []Family
	why    []familyVerdict // of each pool, why it has no address of the families that are left
	causes []Cause         // what a family waits for that was left before another one took its part of a quota
	// loses says that taking what there is would cost the Service an address of a family that some pool does have, if
	// not just now: then it rather keeps what it has.
	loses bool
}

// attempt looks for an address of each family in the first pool that has it.
func (s *search) attempt(candidates []*pool, missing []Family) (t attempt) {
	before := s.grants
	for _, f := range missing {
		if p := s.first(candidates, f); p != nil {
			s.grant(p, f)
			continue
		}
		t.left = append(t.left, f)
		for _, p := range candidates {
			if p.PerNamespace > 0 && len(missing) > 1 {
				if v := s.space(p, f); v != nil {
					t.causes = append(t.causes, v.causes...)
				}
			}
		}
	}
	for _, f := range t.left {
		has := s.shows(f)
		for _, p := range candidates {
			if v := s.space(p, f); v != nil {
				t.why = append(t.why, *v)
				t.loses = t.loses || has && !p.capacity[f].IsZero()
			}
		}
	}
	t.grants = slices.Clone(s.grants[len(before):])
	s.grants = before
	return t
}

// shows reports whether the Service has an address of a family that its status shows, or has shown.
func (s *search) shows(f Family) (has bool) {
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		has = has || familyOf(it.addr) == f && s.fit[i] != loses && (it.written || slices.Contains(s.r.Status.Addresses, addrOf(it.addr)))
		return true
	})
	return has
}

// both returns the pool that both families are to come from: of those that can give both the one where most of them are
// shared, then the first.
func (s *search) both(candidates []*pool, missing []Family) (best *pool) {
	most := -1
	for _, p := range candidates {
		before := len(s.grants)
		shared := 0
		for _, f := range missing {
			if s.space(p, f) != nil {
				break
			}
			if s.grant(p, f) {
				shared++
			}
		}
		if len(s.grants) == before+len(missing) && shared > most {
			best, most = p, shared
		}
		s.grants = s.grants[:before]
		if best != nil && (s.terms.sharing == "" || most == len(missing)) {
			return best
		}
	}
	return best
}

// first returns the first pool that has an address of a family: one that the Service has its other address from, then
// one where others share such an address, then any.
func (s *search) first(candidates []*pool, f Family) *pool {
	for _, g := range s.grants {
		if slices.Contains(candidates, g.pool) && s.space(g.pool, f) == nil {
			return g.pool
		}
	}
	if s.terms.sharing != "" {
		for _, p := range candidates {
			if _, _, ok, _ := s.join(p, f); ok {
				return p
			}
		}
	}
	for _, p := range candidates {
		if s.space(p, f) == nil {
			return p
		}
	}
	return nil
}

// grant grants an address of a family from a pool that has one, and reports whether it is shared.
func (s *search) grant(p *pool, f Family) (shared bool) {
	if n, within, ok, _ := s.join(p, f); ok {
		s.grants = append(s.grants, grant{addr: n, pool: p, within: within})
		return true
	}
	n, ok := s.a.rests.own(s.r.Service, p, f)
	if !ok {
		n, _ = p.pick(f, s.r.Service)
	}
	s.grants = append(s.grants, grant{addr: n, pool: p})
	return false
}

// candidates returns the pools that may serve the Service, by preference. Why the others may not is noted.
func (s *search) candidates() (out []*pool) {
	pools := s.a.order
	if s.r.Pool != "" {
		pools = []*pool{s.a.pools[s.r.Pool]}
	}
	for _, p := range pools {
		if v, causes := s.serves(p, s.r.Pool != ""); v != nil {
			s.verdicts = append(s.verdicts, familyVerdict{Verdict: *v, any: true, causes: causes})
			continue
		}
		out = append(out, p)
	}
	return out
}

// serves checks whether a pool may serve the Service at all. The checks in order, the first "no" wins.
func (s *search) serves(p *pool, asked bool) (*Verdict, []Cause) {
	no := func(reason clarion.Reason, text string, causes ...Cause) (*Verdict, []Cause) {
		return &Verdict{Pool: p.Name, Reason: reason, Text: text}, append(causes, Cause{Kind: CauseRules, Pool: p.Name})
	}
	labels := Cause{Kind: CauseNamespace, Namespace: s.r.Service.Namespace}
	switch {
	case p.Invalid != "":
		return no(clarion.ReasonPoolNotReady, "is not ready: "+p.Invalid)
	case p.Deleting:
		return no(clarion.ReasonPoolDeleting, "is being deleted")
	case !p.AutoAssign && !asked:
		return no(clarion.ReasonNoPool, "is only for Services that ask for it (autoAssign is false)")
	}
	if by, ok := p.selects(s.r); !ok {
		if by == notForNamespace(s.r) {
			return no(clarion.ReasonNoPool, by, labels)
		}
		return no(clarion.ReasonNoPool, by)
	}
	if f := s.fencing(); f != nil && p.For == nil {
		causes := []Cause{{Kind: CauseRules, Pool: f.Name}}
		if f.For.Namespace != nil { // other labels of the namespace may open it
			causes = append(causes, labels)
		}
		return no(clarion.ReasonNoPool, "is closed to this Service, which pool "+f.Name+" keeps to itself (fallback: Denied)", causes...)
	}
	return nil, nil
}

// byLabels is what the Service waits for where pools go by namespaces' labels: with others a pool may be for it or not, and
// close the others to it or not.
func (s *search) byLabels() []Cause {
	if slices.ContainsFunc(s.a.order, func(p *pool) bool { return p.For != nil && p.For.Namespace != nil }) {
		return []Cause{{Kind: CauseNamespace, Namespace: s.r.Service.Namespace}}
	}
	return nil
}

func notForNamespace(r Request) string { return "is not for namespace " + r.Service.Namespace }

// selects reports whether the pool is for the Service, or says why not.
func (p *pool) selects(r Request) (string, bool) {
	switch {
	case p.For == nil:
		return "", true
	case p.For.Namespace != nil && !p.For.Namespace(r.Service.Namespace, r.NamespaceLabels):
		return notForNamespace(r), false
	case p.For.Service != nil && !p.For.Service(r.Labels):
		return "is not for Services with these labels", false
	default:
		return "", true
	}
}

// fencing returns the first pool that selects the Service and lets it take from no pool that does not. That it can't give
// out anything, for it can't be read or is being deleted, opens nothing.
func (s *search) fencing() *pool {
	if !s.fenced {
		s.fenced = true
		for _, p := range s.a.order {
			if p.For == nil || !p.For.Exclusive {
				continue
			}
			if _, ok := p.selects(s.r); ok {
				s.fence = p
				break
			}
		}
	}
	return s.fence
}

// space checks whether a pool has an address of a family for the Service; nil is yes.
func (s *search) space(p *pool, f Family) *familyVerdict {
	no := func(reason clarion.Reason, text string, causes ...Cause) *familyVerdict {
		return &familyVerdict{Verdict: Verdict{Pool: p.Name, Reason: reason, Text: text}, family: f,
			causes: append(causes, Cause{Kind: CauseRules, Pool: p.Name})}
	}
	if p.capacity[f].IsZero() {
		if p.lists(f) {
			return no(clarion.ReasonPoolExhausted, "has no "+f.String()+" address to give: what it lists is excluded, never given out, or an older pool's",
				Cause{Kind: CauseRange, Pool: p.Name})
		}
		return no(clarion.ReasonFamilyMismatch, p.lacksText(f), Cause{Kind: CauseRange, Pool: p.Name})
	}
	full := p.free[f].count.IsZero() && !s.comesBack(p, f)
	if !full && s.terms.sharing == "" && s.quotaLeft(p, 1) {
		return nil
	}
	_, _, ok, sharing := s.join(p, f)
	switch {
	case ok:
		return nil
	case full:
		text := p.fullText(f)
		if s.terms.sharing != "" { // be there an address under its key by now or not
			text += ", and none under this Service's sharing key has its ports free"
		}
		return no(clarion.ReasonPoolExhausted, "full ("+text+")", append(sharing, Cause{Kind: CauseSpace, Pool: p.Name, Family: f})...)
	case !s.quotaLeft(p, 1):
		v, cause := s.quotaVerdict(p)
		return no(v.Reason, v.Text, append(sharing, cause)...)
	}
	return nil
}

// comesBack reports whether a pool has an address that rests for the Service.
func (s *search) comesBack(p *pool, f Family) bool {
	_, ok := s.a.rests.own(s.r.Service, p, f)
	return ok
}

func (s *search) quotaVerdict(p *pool) (Verdict, Cause) {
	return Verdict{
			Pool: p.Name, Reason: clarion.ReasonQuotaReached,
			Text: fmt.Sprintf("namespace %s has all that its quota allows (%d)", s.r.Service.Namespace, p.PerNamespace),
		},
		Cause{Kind: CauseQuota, Pool: p.Name, Namespace: s.r.Service.Namespace, Holding: s.leaves(p)}
}

// leaves reports whether the Service would give up something of a pool, by what is granted so far.
func (s *search) leaves(p *pool) (does bool) {
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		does = does || s.a.poolOf(it) == p && !s.keeps(i, p)
		return true
	})
	return does
}

// keeps reports whether a claim is among what is granted so far, to count in a pool.
func (s *search) keeps(i id, p *pool) bool {
	return slices.ContainsFunc(s.grants, func(g grant) bool { return g.claim == i && g.pool == p })
}

// quotaLeft reports whether the Service's namespace may hold n more addresses of a pool. What the Service is about to
// give up does not count, what it is about to get does.
func (s *search) quotaLeft(p *pool, n int64) bool {
	if p.PerNamespace == 0 {
		return true
	}
	var held int64
	if ns := s.a.ledger.namespaces[s.r.Service.Namespace]; ns != nil {
		held = ns.held[p]
	}
	s.a.ledger.of(s.holder, func(i id, it *claim) bool {
		if s.a.poolOf(it) == p && !s.keeps(i, p) && s.a.only(it) {
			held--
		}
		return true
	})
	for _, g := range s.grants {
		if g.pool == p && !g.within && (g.claim == 0 || s.a.poolOf(s.a.ledger.claims.at(g.claim)) != p) {
			held++
		}
	}
	return held+n <= p.PerNamespace
}

// only reports whether no other Service of the namespace has the address of a claim.
func (a *Allocator) only(it *claim) bool {
	s := a.sites[it.addr]
	return s == nil || s.spaces[a.ledger.holders.at(it.holder).namespace] == 1
}

// story returns why each considered pool did not give the families that are left, pools in order of preference, and
// the causes that may change it.
func (s *search) story(left []Family) (out []Verdict, causes []Cause) {
	noted := map[Cause]bool{}
	note := func(c Cause) {
		if !noted[c] {
			noted[c] = true
			causes = append(causes, c)
		}
	}
	if s.r.Pool == "" {
		note(Cause{Kind: CausePools})
	} else {
		note(Cause{Kind: CauseRange, Pool: s.r.Pool}) // which may come to have what the Service keeps
	}
	for _, c := range append(s.byLabels(), s.causes...) {
		note(c)
	}
	of := map[string][]familyVerdict{}
	for _, v := range s.verdicts {
		of[v.Pool] = append(of[v.Pool], v)
	}
	for _, p := range s.a.order {
		var texts []string
		var v Verdict
		for _, fv := range of[p.Name] {
			if !fv.any && !slices.Contains(left, fv.family) {
				continue
			}
			if v.Pool == "" || rank(fv.Reason) < rank(v.Reason) {
				v = fv.Verdict
			}
			if !slices.Contains(texts, fv.Text) {
				texts = append(texts, fv.Text)
			}
			for _, c := range fv.causes {
				note(c)
			}
		}
		if v.Pool != "" {
			v.Text = joinTexts(texts)
			out = append(out, v)
		}
	}
	return out, causes
}
