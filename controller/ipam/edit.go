package ipam

import (
	"slices"

	"go4.org/netipx"
)

// edition is what a pool was by an edit.
type edition struct {
	exists    bool
	Pool      Pool
	territory []span
}

// edits is what became of the pools by an edit, and of what the cluster's network needs.
type edits struct {
	of     map[string]change
	before atlas
	after  atlas
	more   bool             // there is a pool that was not there
	ready  bool             // a pool that could be read can't be by now, or the other way round
	lists  []netipx.IPRange // of the pools that list something else, what they did and do
}

// change is what became of one pool.
type change struct{ rules, territory, quota, sharing bool }

// compare says what became of the pools since it was last asked, where the territories were those of an atlas.
func (a *Allocator) compare(before atlas) edits {
	e := edits{of: map[string]change{}, before: before, after: a.atlas}
	for _, p := range a.pools {
		was := p.told
		p.told = edition{p.exists, p.Pool, p.territory}
		if !p.exists && !was.exists {
			continue
		}
		e.more = e.more || !was.exists
		e.ready = e.ready || (was.exists && was.Pool.Invalid != "") != (p.exists && p.Invalid != "")
		if !slices.Equal(was.Pool.Ranges, p.Ranges) || !slices.Equal(was.Pool.Exclude, p.Exclude) {
			e.lists = append(append(e.lists, was.Pool.Ranges...), p.Ranges...)
		}
		e.of[p.Name] = change{
			rules: p.exists != was.exists || p.AutoAssign != was.Pool.AutoAssign || p.Deleting != was.Pool.Deleting ||
				p.ReleaseOrphans != was.Pool.ReleaseOrphans || p.Invalid != was.Pool.Invalid || !p.For.alike(was.Pool.For),
			territory: !slices.Equal(was.territory, p.territory) || was.Pool.AvoidBuggyIPs != p.AvoidBuggyIPs ||
				was.Pool.ReuseDelay != p.ReuseDelay, // what rests may be free by it
			quota:   was.Pool.PerNamespace != p.PerNamespace || p.left,
			sharing: was.Pool.ShareAcross != p.ShareAcross,
		}
		p.left = false
	}
	return e
}

// concern reports whether who waits for a cause is to be asked again after an edit. It concerns those alone in whose
// answer something would read differently: a Service that a pool is not for does not care what the pool lists.
func (e edits) concern(c Cause) bool {
	p := e.of[c.Pool]
	switch c.Kind {
	case CausePools:
		if !c.Address.IsValid() {
			return e.more
		}
		n := numOf(c.Address)
		was, is := e.before.owner(n), e.after.owner(n)
		return was != is || is == nil && e.ready || is == nil && slices.ContainsFunc(e.lists, func(r netipx.IPRange) bool { return r.Contains(c.Address) })
	case CauseRules:
		return p.rules
	case CauseRange, CauseSpace:
		return p.territory
	case CauseQuota:
		return p.quota
	case CauseSharing:
		return p.sharing || p.territory
	default:
		return false
	}
}
