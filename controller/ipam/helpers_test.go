package ipam

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"go4.org/netipx"
)

// ranges reads CIDRs, ranges and single addresses, separated by blanks.
func ranges(list string) (out []netipx.IPRange) {
	for _, s := range strings.Fields(list) {
		switch {
		case strings.Contains(s, "/"):
			out = append(out, netipx.RangeOfPrefix(netip.MustParsePrefix(s)))
		case strings.Contains(s, "-"):
			out = append(out, netipx.MustParseIPRange(s))
		default:
			a := netip.MustParseAddr(s)
			out = append(out, netipx.IPRangeFrom(a, a))
		}
	}
	return out
}

func addrs(list string) (out []netip.Addr) {
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// world is an Allocator with what the controller would be around it: it remembers what each Service asks for and what
// its status shows, writes what is decided, and brings back the Services that are woken.
type world struct {
	t        testing.TB
	a        *Allocator
	now      time.Time
	requests map[Key]*Request
	last     map[Key]Decision
	news     []string // what changed for Services that were woken
}

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	a := New()
	a.Advance(newYear)
	return &world{t: t, a: a, now: newYear, requests: map[Key]*Request{}, last: map[Key]Decision{}}
}

// key reads "namespace/name"; the namespace is "default" when it is missing.
func key(s string) Key {
	if ns, name, ok := strings.Cut(s, "/"); ok {
		return Key{ns, name}
	}
	return Key{"default", s}
}

// ask changes what a Service asks for.
type ask func(*Request)

func families(list string) ask {
	return func(r *Request) {
		r.Families = nil
		for _, f := range strings.Fields(list) {
			r.Families = append(r.Families, map[string]Family{"v4": IPv4, "v6": IPv6}[f])
		}
	}
}

var (
	v4       = families("v4")
	v6       = families("v6")
	require  = ask(func(r *Request) { families("v4 v6")(r); r.Policy = RequireDualStack })
	prefer   = ask(func(r *Request) { families("v4 v6")(r); r.Policy = PreferDualStack })
	sixFirst = ask(func(r *Request) { families("v6 v4")(r) })
	single   = ask(func(r *Request) { r.Policy = SingleStack })
)

func wants(list string) ask    { return func(r *Request) { r.Addresses = addrs(list) } }
func fromPool(name string) ask { return func(r *Request) { r.Pool = name } }
func labelled(key, value string) ask {
	return func(r *Request) { r.Labels = map[string]string{key: value} }
}
func inNamespace(key, value string) ask {
	return func(r *Request) { r.NamespaceLabels = map[string]string{key: value} }
}
func ports(list ...uint16) ask {
	return func(r *Request) {
		r.Ports = nil
		for _, p := range list {
			r.Ports = append(r.Ports, Port{"TCP", p})
		}
	}
}
func shares(key string) ask { return func(r *Request) { r.SharingKey = key } }
func cluster(r *Request)    { r.Local, r.Selector = false, nil }
func local(selector ...string) ask {
	return func(r *Request) {
		r.Local, r.Selector = true, nil
		for i := 0; i+1 < len(selector); i += 2 {
			r.Selector = map[string]string{selector[i]: selector[i+1]}
		}
	}
}
func status(list string, pools ...string) ask {
	return func(r *Request) { r.Status = Status{Addresses: addrs(list), Pools: pools} }
}

func (w *world) request(k Key) *Request {
	if w.requests[k] == nil {
		w.requests[k] = &Request{Service: k, Families: []Family{IPv4}, Policy: SingleStack}
	}
	return w.requests[k]
}

// assign has a Service ask, and writes the answer.
func (w *world) assign(service string, asks ...ask) string {
	w.t.Helper()
	r := w.request(key(service))
	for _, ask := range asks {
		ask(r)
	}
	return w.write(r)
}

func (w *world) write(r *Request) string {
	w.t.Helper()
	h := w.a.ledger.find(r.Service)
	adopted := r.Status.empty() || w.a.Holds(r.Service) != nil && !w.a.forestalled(h, r.Status)
	explained := w.a.Explain(*r)
	d := w.a.Assign(*r)
	if adopted && (explained.Outcome != d.Outcome || explained.Message != d.Message) {
		w.t.Fatalf("%s: Explain says %v %q, Assign %v %q", r.Service, explained.Outcome, explained.Message, d.Outcome, d.Message)
	}
	if !d.Foreign {
		r.Status = Status{}
		for _, g := range d.Grants {
			r.Status.Addresses = append(r.Status.Addresses, g.Address)
			r.Status.Pools = append(r.Status.Pools, g.Pool)
		}
		w.a.Settle(r.Service)
	}
	w.last[r.Service] = d
	w.bringBack()
	return says(d)
}

// says puts a decision into a line: addresses, or the reason and what is kept.
func says(d Decision) string {
	var got []string
	for _, g := range d.Grants {
		got = append(got, g.Address.String())
	}
	list := strings.Join(got, " ")
	switch {
	case d.Outcome == Granted:
		return list
	case list != "":
		return string(d.Reason) + ", keeps " + list
	default:
		return string(d.Reason)
	}
}

func (w *world) release(service string) string {
	w.a.Release(key(service))
	delete(w.requests, key(service))
	w.bringBack()
	return ""
}

func (w *world) pools(pools ...Pool) string {
	w.a.SetPools(pools)
	w.bringBack()
	return ""
}

// bringBack has every woken Service ask again.
func (w *world) bringBack() {
	w.t.Helper()
	for rounds := 0; ; rounds++ {
		woken := w.a.TakeWoken()
		if len(woken) == 0 {
			break
		}
		if rounds > 10_000 {
			w.t.Fatal("Services wake each other without end")
		}
		for _, k := range woken {
			r := w.requests[k]
			if r == nil {
				w.a.Release(k)
				continue
			}
			before := says(w.last[k])
			if after := w.write(r); after != before {
				w.news = append(w.news, k.Name+": "+after)
			}
		}
	}
	if err := w.a.Check(); err != nil {
		w.t.Fatal(err)
	}
}

// pool makes a pool that anybody may use; older pools have lower ages… the first one made is the oldest.
func auto(name, list string, with ...func(*Pool)) Pool {
	p := Pool{Name: name, Ranges: ranges(list), AutoAssign: true}
	for _, f := range with {
		f(&p)
	}
	return p
}

func excluding(list string) func(*Pool) { return func(p *Pool) { p.Exclude = ranges(list) } }
func avoidingBuggy(p *Pool)             { p.AvoidBuggyIPs = true }
func manual(p *Pool)                    { p.AutoAssign = false }
func deleting(p *Pool)                  { p.Deleting = true }
func random(p *Pool)                    { p.Random = true }
func across(p *Pool)                    { p.ShareAcross = true }
func releasing(p *Pool)                 { p.ReleaseOrphans = true }
func invalid(why string) func(*Pool)    { return func(p *Pool) { p.Invalid = why } }
func quota(n int64) func(*Pool)         { return func(p *Pool) { p.PerNamespace = n } }
func reuseDelay(seconds int) func(*Pool) {
	return func(p *Pool) { p.ReuseDelay = time.Duration(seconds) * time.Second }
}
func made(second int64) func(*Pool) {
	return func(p *Pool) { p.Created = time.Unix(second, 0) }
}

func forNamespace(name string) func(*Pool) {
	return func(p *Pool) {
		p.audience().Namespace = func(n string, _ map[string]string) bool { return n == name }
	}
}

func forNamespacesWith(k, v string) func(*Pool) {
	return func(p *Pool) {
		p.audience().Namespace = func(_ string, l map[string]string) bool { return l[k] == v }
	}
}

func forServicesWith(k, v string) func(*Pool) {
	return func(p *Pool) { p.audience().Service = func(l map[string]string) bool { return l[k] == v } }
}

func priority(n int32) func(*Pool) { return func(p *Pool) { p.audience().Priority = n } }
func exclusive(p *Pool)            { p.audience().Exclusive = true }

func (p *Pool) audience() *Audience {
	if p.For == nil {
		p.For = &Audience{}
	}
	return p.For
}

// step is one thing that happens, and what comes of it.
type step struct {
	does string
	do   func(w *world) string
	want string
	news []string // what changes for Services that waited
}

func (s step) then(news ...string) step { s.news = news; return s }

func assigns(service string, want string, asks ...ask) step {
	return step{does: service + " asks", do: func(w *world) string { return w.assign(service, asks...) }, want: want}
}

// inVain is a decision of which nothing reaches the API server.
func inVain(service, want string, asks ...ask) step {
	return step{does: service + " asks in vain", want: want, do: func(w *world) string {
		r := w.request(key(service))
		for _, ask := range asks {
			ask(r)
		}
		return says(w.a.Assign(*r))
	}}
}

func goes(service string) step {
	return step{does: service + " goes", do: func(w *world) string { return w.release(service) }}
}

func edit(pools ...Pool) step {
	return step{does: "pools are edited", do: func(w *world) string { return w.pools(pools...) }}
}

// message checks what the last decision on a Service said.
func message(service, want string) step {
	return step{does: "the message of " + service, do: func(w *world) string { return w.last[key(service)].Message }, want: want}
}

func usage(pool, want string) step {
	return step{does: "usage of " + pool, want: want, do: func(w *world) string {
		u, ok := w.a.Usage(pool)
		if !ok {
			return "none"
		}
		var parts []string
		for i, f := range []FamilyUsage{u.IPv4, u.IPv6} {
			if !f.Capacity.IsZero() || f.Assigned > 0 {
				parts = append(parts, Family(i).short()+" "+CountOf(uint64(f.Assigned)).String()+"/"+f.Capacity.Short()+
					", "+f.Available.String()+" free")
				if f.Resting > 0 {
					parts[len(parts)-1] += ", " + strconv.FormatInt(f.Resting, 10) + " resting"
				}
			}
		}
		return strings.Join(parts, "; ")
	}}
}

func wait(seconds int) step {
	return step{does: "time passes", do: func(w *world) string {
		w.now = w.now.Add(time.Duration(seconds) * time.Second)
		w.a.Advance(w.now)
		w.bringBack()
		return ""
	}}
}

func nodes(list ...Node) step {
	return step{does: "nodes come and go", do: func(w *world) string {
		var all []Reserved
		for _, n := range list {
			all = append(all, n.Reserved()...)
		}
		w.a.SetReserved(all)
		w.bringBack()
		return ""
	}}
}

func skipped(pool, want string) step {
	return step{does: "what is skipped of " + pool, want: want, do: func(w *world) string {
		var all []string
		for _, s := range w.a.Condition(pool).Skipped {
			all = append(all, s.String())
		}
		return strings.Join(all, ", ")
	}}
}

func nearlyFull(pool, want string) step {
	return step{does: "how full " + pool + " is", want: want, do: func(w *world) string { return w.a.Condition(pool).NearlyFull }}
}
