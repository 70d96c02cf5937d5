package ipam

import (
	"fmt"
	"net/netip"
	"strings"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// storyPools is how many pools a message tells of before it counts the rest.
const storyPools = 16

// decision puts a choice into words.
func (a *Allocator) decision(r Request, c choice) Decision {
	d := Decision{
		Outcome:  c.outcome,
		Reason:   c.reason,
		Story:    c.story,
		Shares:   c.shares,
		Lost:     a.lostText(c.lost),
		WaitsFor: c.causes,
		Grants:   make([]Grant, len(c.grants)),
	}
	for i, g := range c.grants {
		d.Grants[i] = Grant{Address: addrOf(g.addr), Pool: g.pool.Name}
	}
	if len(d.Grants) == 0 {
		d.Grants = nil
	}
	what := a.grantsText(c.grants)
	switch {
	case c.outcome == Granted && c.text == "":
		d.Message = what
	case c.outcome == Granted:
		d.Message = what + "; " + c.text
	case c.keeping:
		d.Message = c.text + "; keeps " + what
	default:
		d.Message = c.text
	}
	return d
}

// lostText tells of what a Service gives up because another one has the better right to it.
func (a *Allocator) lostText(lost []id) string {
	if len(lost) == 0 {
		return ""
	}
	addrs := make([]netip.Addr, len(lost))
	for i, c := range lost {
		addrs[i] = addrOf(a.ledger.claims.at(c).addr)
	}
	return listAddrs(addrs) + " is left to another Service that has it too: they may not share it as they are " +
		"(sharing keys, externalTrafficPolicy or ports), and the other one is older or was there first"
}

// grantsText tells which addresses come from which pools: "10.0.0.5 and fd00::5 from pool public".
func (a *Allocator) grantsText(grants []grant) string {
	var b strings.Builder
	for i := 0; i < len(grants); {
		p := grants[i].pool
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(addrOf(grants[i].addr).String())
		worst := p.standing(grants[i].addr)
		for i++; i < len(grants) && grants[i].pool == p; i++ {
			b.WriteString(" and ")
			b.WriteString(addrOf(grants[i].addr).String())
			worst = max(worst, p.standing(grants[i].addr))
		}
		b.WriteString(" from pool ")
		b.WriteString(p.Name)
		b.WriteString(worst.String())
	}
	return b.String()
}

// missingText tells which families could not be had, and why not: "no IPv4 address: public: full (v4 256/256);
// v6-only: has no IPv4".
func missingText(left []Family, story []Verdict) string {
	var b strings.Builder
	b.WriteString("no ")
	for i, f := range left {
		if i > 0 {
			b.WriteString(" and no ")
		}
		b.WriteString(f.String())
	}
	b.WriteString(" address: ")
	if len(story) == 0 {
		b.WriteString("there is no IPAddressPool")
	}
	for i, v := range story {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == storyPools && len(story) > storyPools+1 {
			fmt.Fprintf(&b, "and %d more pools", len(story)-storyPools)
			break
		}
		b.WriteString(v.Pool + ": " + v.Text)
	}
	return b.String()
}

// joinClauses joins two parts of a message, of which either may be empty.
func joinClauses(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func joinTexts(texts []string) string { return strings.Join(texts, ", ") }

// rank orders reasons by how close the pool came to serving.
func rank(r clarion.Reason) int {
	switch r {
	case clarion.ReasonPoolExhausted:
		return 0
	case clarion.ReasonQuotaReached:
		return 1
	case clarion.ReasonFamilyMismatch:
		return 2
	case clarion.ReasonPoolDeleting:
		return 3
	case clarion.ReasonPoolNotReady:
		return 4
	default:
		return 5
	}
}

// summary is the reason that stands for a whole story: that of the pool that came closest to serving. That a pool is
// being deleted or not ready is news only to who asks for that pool.
func summary(story []Verdict, asked bool) clarion.Reason {
	best := clarion.ReasonNoPool
	for _, v := range story {
		if rank(v.Reason) < rank(best) {
			best = v.Reason
		}
	}
	if !asked && (best == clarion.ReasonPoolDeleting || best == clarion.ReasonPoolNotReady) {
		return clarion.ReasonNoPool
	}
	return best
}

// timeFormat is how messages tell a time (RFC 3339).
const timeFormat = "2006-01-02T15:04:05Z"

// fullText tells how much of a full pool is in use: "v4 256/256", or "v4 256/256 in use or resting" where addresses rest.
// How many do is not told: it changes with each that is given up, and who waits is not told anew for that.
func (p *pool) fullText(f Family) string {
	text := fmt.Sprintf("%s %s/%s", f.short(), p.capacity[f].Short(), p.capacity[f].Short())
	if p.ReuseDelay > 0 {
		text += " in use or resting"
	}
	return text
}

// lacksText tells that a pool lists nothing of a family: "family IPv6 ≠ IPv4".
func (p *pool) lacksText(f Family) string {
	if other := IPv4 + IPv6 - f; p.lists(other) {
		return fmt.Sprintf("family %s ≠ %s", other, f)
	}
	return "has no address to give"
}
