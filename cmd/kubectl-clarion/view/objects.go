package view

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/remedy"
)

const conditionReady = string(v1beta1.ConditionReady)

// ready is the condition Ready as a cell, and what is to be said of the object: why it is not ready, else what else is abnormal.
func ready(conditions []metav1.Condition) (state, message Cell) {
	c := meta.FindStatusCondition(conditions, conditionReady)
	switch {
	case c == nil:
		return Doubtful.cell("Unknown"), Cell{}
	case c.Status == metav1.ConditionUnknown:
		return Doubtful.cell(string(c.Status)), Cell{Text: c.Reason + ": " + c.Message}
	case c.Status == metav1.ConditionFalse:
		return Bad.cell(string(c.Status)), Cell{Text: c.Reason + ": " + c.Message}
	}
	var abnormal []string
	for _, c := range conditions {
		if c.Type != conditionReady && c.Status == metav1.ConditionTrue {
			abnormal = append(abnormal, c.Type+": "+c.Message)
		}
	}
	if len(abnormal) > 0 {
		return Good.cell(string(c.Status)), Doubtful.cell(strings.Join(abnormal, "; "))
	}
	return Good.cell(string(c.Status)), Cell{}
}

// barWidth is how many characters a bar has.
const barWidth = 20

// usage is how much of a family's addresses is in use: a bar, and a share in words.
func usage(u *v1beta1.FamilyUsage) (bar Cell, share string) {
	if u == nil {
		return cell("-"), ""
	}
	capacity, ok := new(big.Int).SetString(u.Capacity, 10)
	available, ok2 := new(big.Int).SetString(u.Available, 10)
	if !ok || !ok2 {
		return cell("?"), ""
	}
	mood, filled, percent := Good, 0, "-"
	if capacity.Sign() > 0 {
		taken := new(big.Int).Sub(capacity, available) // resting ones can't be had either
		part := func(of int64) int {
			return int(new(big.Int).Quo(new(big.Int).Mul(taken, big.NewInt(of)), capacity).Int64())
		}
		filled = part(barWidth)
		if filled == 0 && taken.Sign() > 0 {
			filled = 1
		}
		percent = fmt.Sprintf("%d%%", part(100))
		if p := part(100); p >= 100 {
			mood = Bad
		} else if p >= 90 {
			mood = Doubtful
		}
	}
	return mood.cell("[" + strings.Repeat("#", filled) + strings.Repeat(".", barWidth-filled) + "]"), fmt.Sprintf("%s of %s", percent, short(capacity))
}

// short writes large powers of two as such.
func short(n *big.Int) string {
	if n.BitLen() > 32 && n.TrailingZeroBits() == uint(n.BitLen()-1) {
		return fmt.Sprintf("2^%d", n.BitLen()-1)
	}
	return n.String()
}

// Pools shows how full each pool is.
func Pools(pools []v1beta1.IPAddressPool) Table {
	t := Table{Columns: []Column{{Name: "POOL"}, {Name: "IPV4"}, {Name: ""}, {Name: "IPV6"}, {Name: ""}, {Name: "ASSIGNED"}, {Name: "RESTING", Wide: true}, {Name: "READY"},
		{Name: "MESSAGE"}, {Name: "ADDRESSES", Wide: true}}, Empty: "There is no IPAddressPool: without one no Service gets an address."}
	for _, p := range slices.SortedFunc(slices.Values(pools), func(a, b v1beta1.IPAddressPool) int { return cmp.Compare(a.Name, b.Name) }) {
		v4, share4 := usage(p.Status.IPv4)
		v6, share6 := usage(p.Status.IPv6)
		var assigned int64
		for _, u := range []*v1beta1.FamilyUsage{p.Status.IPv4, p.Status.IPv6} {
			if u != nil {
				assigned += u.Assigned
			}
		}
		state, message := ready(p.Status.Conditions)
		var addresses []string
		for _, a := range p.Spec.Addresses {
			addresses = append(addresses, string(a))
		}
		t.Rows = append(t.Rows, []Cell{cell("%s", p.Name), v4, cell("%s", share4), v6, cell("%s", share6), cell("%d", assigned), cell("%d", len(p.Status.Resting)),
			state, message, cell("%s", strings.Join(addresses, ","))})
	}
	return t
}

// Speakers shows what the speaker of each node does.
func Speakers(now time.Time, speakers []v1beta1.Speaker) Table {
	t := Table{Columns: []Column{{Name: "NODE"}, {Name: "READY"}, {Name: "LAYER 2 ADDRESSES"}, {Name: "HEARS"}, {Name: "BGP SESSIONS"}, {Name: "SINCE", Wide: true},
		{Name: "VERSION", Wide: true}, {Name: "MESSAGE"}}, Empty: "There is no Speaker: no speaker has ever run in this cluster."}
	for _, s := range slices.SortedFunc(slices.Values(speakers), func(a, b v1beta1.Speaker) int { return cmp.Compare(a.Name, b.Name) }) {
		owned, hears, sessions := cell("-"), cell("-"), cell("-")
		if l := s.Status.Layer2; l != nil {
			owned = cell("%d", l.AddressesOwned)
		}
		if m := s.Status.Membership; m != nil {
			hears = cell("%d/%d", m.Alive, m.Expected)
			if m.Alive < m.Expected {
				hears.Mood = Doubtful
			}
		}
		if b := s.Status.BGP; b != nil && b.SessionsWanted > 0 {
			sessions = cell("%d/%d", b.SessionsUp, b.SessionsWanted)
			if b.SessionsUp < b.SessionsWanted {
				sessions.Mood = Bad
			}
		}
		state, message := ready(s.Status.Conditions)
		if m := s.Status.Membership; m != nil && len(m.Missing) > 0 && message.Text == "" {
			message = Doubtful.cell("has not heard for long: " + strings.Join(m.Missing[:min(len(m.Missing), 3)], ", "))
		}
		since := "-"
		if c := meta.FindStatusCondition(s.Status.Conditions, conditionReady); c != nil {
			since = Ago(now, c.LastTransitionTime.Time)
		}
		t.Rows = append(t.Rows, []Cell{cell("%s", s.Name), state, owned, hears, sessions, cell("%s", since), cell("%s", s.Status.Version), message})
	}
	return t
}

// GoesOnWithout reports whether a session that is established says that it goes on without something: BFD beside it, or the Secret that its
// password is from.
func GoesOnWithout(lastError string) bool {
	s := v1beta1.BGPSession{State: v1beta1.BGPEstablished, LastError: lastError}
	_, noBFD := s.WithoutBFD()
	_, noSecret := s.WithoutSecret()
	return noBFD || noSecret
}

// Peers shows each session of each node with each router.
func Peers(now time.Time, peers []v1beta1.BGPPeer, speakers []v1beta1.Speaker) Table {
	t := Table{Columns: []Column{{Name: "PEER"}, {Name: "NODE"}, {Name: "ADDRESS"}, {Name: "STATE"}, {Name: "SINCE"}, {Name: "ROUTES SENT"}, {Name: "MESSAGE"}},
		Empty: "There is no BGPPeer: addresses are announced by ARP and NDP alone."}
	slices.SortFunc(speakers, func(a, b v1beta1.Speaker) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range slices.SortedFunc(slices.Values(peers), func(a, b v1beta1.BGPPeer) int { return cmp.Compare(a.Name, b.Name) }) {
		found := false
		for _, s := range speakers {
			if s.Status.BGP == nil {
				continue
			}
			for _, session := range s.Status.BGP.Sessions {
				if session.Peer != p.Name {
					continue
				}
				found = true
				mood, message := Good, session.LastError // of one that is up: what it was before, or what it does without
				switch {
				case session.State != v1beta1.BGPEstablished:
					mood = Bad
				case GoesOnWithout(session.LastError):
					mood = Doubtful
				}
				if reason, _, _ := strings.Cut(message, ":"); mood != Good && remedy.Of(reason) != "" {
					message += " → " + remedy.Of(reason)
				}
				t.Rows = append(t.Rows, []Cell{cell("%s", p.Name), cell("%s", s.Name), cell("%s", session.Address), mood.cell(string(session.State)),
					cell("%s", Ago(now, session.Since.Time)), cell("%d", session.RoutesSent), cell("%s", message)})
			}
		}
		if !found {
			_, message := ready(p.Status.Conditions)
			if message.Text == "" {
				message.Text = "no node has a session: see nodeSelectors"
			}
			address := p.Spec.PeerAddress
			if address == "" {
				address = "on " + string(p.Spec.Interface)
			}
			t.Rows = append(t.Rows, []Cell{cell("%s", p.Name), cell("-"), cell("%s", address), Doubtful.cell("-"), cell("-"), cell("-"), message})
		}
	}
	return t
}
