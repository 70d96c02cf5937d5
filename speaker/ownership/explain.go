package ownership

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// String returns the cause in words that complete "because".
func (c Cause) String() string {
	switch c {
	case CauseFirstClaim:
		return "nobody had it"
	case CauseLoss:
		return "its owner was lost"
	case CauseSilent:
		return "its owner's speaker was silent for too long"
	case CauseLeave:
		return "its owner left or may no longer answer"
	case CauseRank:
		return "its owner was no longer among the best placed"
	case CauseFailback:
		return "it is better placed here"
	case CauseOrder:
		return "it was asked for"
	case CauseConflict:
		return "two had claimed it and this claim is the better"
	case CauseGone:
		return "its owner gave it up"
	case CauseNone:
		return "nobody may answer for it"
	}
	return fmt.Sprintf("of cause %d, which this version does not know", uint8(c))
}

// Explain says in words who owns u, since when and why, and who would take it.
func (m *Machine) Explain(key Unit) string {
	u := m.units[key]
	switch {
	case u == nil || u.group == nil:
		return "no node may answer for it"
	case u.owner == nil && !m.settled:
		return "this speaker has only just started and does not know yet who owns it"
	case u.owner == nil && u.expected != nil:
		return "nobody owns it; " + u.expected.name + " is to take it"
	case u.owner == nil:
		return "nobody owns it, and no node that may answer can take it now"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "owned by %s for %v, because %v", u.owner.name, (m.at - u.ownerSince).Round(time.Second), u.cause)
	i := slices.IndexFunc(u.claims, func(c claimant) bool { return c.node == u.owner })
	switch {
	case i < 0:
	case u.claims[i].Held:
		b.WriteString("; not answered, because a host that is no member holds the address")
	case u.claims[i].Provisional:
		b.WriteString("; provisionally, because it suspects itself to be cut off")
	}
	switch {
	case u.vacant && u.expected != nil:
		fmt.Fprintf(&b, "; that node is lost, and %s is to take it", u.expected.name)
	case u.answer.As == StandIn:
		b.WriteString("; its speaker is silent, and this node stands in for it")
	case u.owner.mode == mum && u.owner != m.self:
		b.WriteString("; its speaker is silent")
	case u.offer.to != nil:
		fmt.Fprintf(&b, "; being handed over to %s, because %v", u.offer.to.name, u.offer.cause)
	case u.leftover != never && u.owner == m.self:
		b.WriteString("; it may not answer any longer, but nobody can take it")
	}
	if d := m.Deputies(key); len(d) > 0 {
		fmt.Fprintf(&b, "; deputies are %s", strings.Join(d, " and "))
	}
	return b.String()
}
