package speaker

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"go4.org/netipx"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/bfd"
	"github.com/clarion-lb/clarion/speaker/bfd/packet"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
	"github.com/clarion-lb/clarion/speaker/routes"
)

// routing works out what this node is to be toward routers: which sessions, which routes in them, watched by which BFD
// sessions. It is to BGP what the decider is to layer 2, and decides only what has changed. It opens nothing and belongs to
// the loop; time is an argument.
type routing struct {
	self   string
	ignore bool // the label that excludes nodes

	routers     map[string]*router
	ads         map[string]*routes.Advertisement
	communities map[string]*routes.Community
	profiles    map[string]*profile
	passwords   map[string]password
	unreadable  map[string]string // Secrets that this speaker may not read, and what to do about it
	asked       map[string]bool   // Secrets of which it is known by now whether there is something to read
	pools       map[string]*netipx.IPSet
	reshaped    bool // something has changed that concerns every address

	// active is set once there is a router or an advertisement. Before, BGP costs nothing.
	active    bool
	nodes     []plan.Node // as the table was last told
	table     *routes.Table
	decisions map[netip.Addr]routes.Decision
	able      map[netip.Addr]bool // this node may advertise them, though it may be waiting for kube-proxy
	gains     *gains
	faded     map[string]faded
	inForce   map[string]bgp.Secret // the passwords of peers that there is to be a session with, "" for none
	far       map[string]netip.Addr // the other ends of unnumbered sessions, as last seen
	near      map[string]netip.Addr // this end of sessions from an interface's address, as last seen
	distant   map[string]bool       // routers that are several hops away
	problems  map[string]problem    // why there is no session with a wanted peer, by its name
	unwatched map[string]string     // why there is no BFD session with a peer that names a profile
	problemAt map[string]time.Time  // since when that is so
	forgotten map[string]string     // why a peer's password, which is in force, could not be had again
	states    map[string]carried    // what sessions carried when last looked at
	heard     map[string]hearing    // of other nodes, as the table was last told
	revised   uint64                // how often what reasons counts may have changed

	routerID netip.Addr
	desired  bgp.Desired
	sessions []bfd.Session
	strict   map[string]bool // peers whose sessions wait for BFD
}

// A problem is why there is no session.
type problem struct {
	reason  bgp.Reason
	message string
}

// routingView is what routing decides on.
type routingView struct {
	cluster *cluster
	// dirty are addresses whose Services, or their endpoints, have changed; taken when they are decided.
	dirty map[netip.Addr]bool
	// nodes have the signals that count. hearing tells of another node's sessions with routers.
	nodes   []plan.Node
	hearing func(node string) hearing
	links   []layer2.Link
	bgp     *bgp.Snapshot
	watched bfd.Snapshot
}

// routed is what a step came to.
type routed struct {
	// sessions and watched are true where desired and sessions are others than before.
	sessions, watched bool
	// secrets are the names of those with passwords that this node needs.
	secrets map[string]bool
	// touched are addresses of whose announcement there may be something else to say.
	touched map[netip.Addr]bool
	wakeAt  time.Time
}

func newRouting(self string, ignoreExcludeLabel bool) *routing {
	return &routing{
		self: self, ignore: ignoreExcludeLabel,
		routers: map[string]*router{}, ads: map[string]*routes.Advertisement{}, communities: map[string]*routes.Community{},
		profiles: map[string]*profile{}, passwords: map[string]password{}, unreadable: map[string]string{}, asked: map[string]bool{}, pools: map[string]*netipx.IPSet{},
		table: routes.New(), decisions: map[netip.Addr]routes.Decision{}, able: map[netip.Addr]bool{}, gains: newGains(), faded: map[string]faded{},
		inForce: map[string]bgp.Secret{}, far: map[string]netip.Addr{}, near: map[string]netip.Addr{}, distant: map[string]bool{},
		problems: map[string]problem{}, problemAt: map[string]time.Time{}, unwatched: map[string]string{}, states: map[string]carried{},
	}
}

// forgetSecret is for a Secret that is not followed any more.
func (r *routing) forgetSecret(name string) {
	delete(r.passwords, name)
	delete(r.unreadable, name)
	delete(r.asked, name)
}

// The functions below take in an object, or with nil that it is gone.

func (r *routing) setRouter(name string, o *router)                      { put(r, r.routers, name, o) }
func (r *routing) setAdvertisement(name string, o *routes.Advertisement) { put(r, r.ads, name, o) }
func (r *routing) setCommunity(name string, o *routes.Community)         { put(r, r.communities, name, o) }
func (r *routing) setPool(name string, o *netipx.IPSet)                  { put(r, r.pools, name, o) }
func (r *routing) setProfile(name string, o *profile)                    { put(nil, r.profiles, name, o) }
func (r *routing) setPassword(name string, p password)                   { r.passwords[name], r.asked[name] = p, true }
func (r *routing) removePassword(name string)                            { delete(r.passwords, name) }

// setUnreadable notes why a Secret can't be read; "" where it can, or is not there.
func (r *routing) setUnreadable(name, problem string) {
	r.asked[name] = true
	if problem == "" {
		delete(r.unreadable, name)
	} else {
		r.unreadable[name] = problem
	}
}

func put[T any](r *routing, objects map[string]*T, name string, o *T) {
	if o == nil {
		delete(objects, name)
	} else {
		objects[name] = o
	}
	if r != nil {
		r.reshaped = true
	}
}

// step decides what has changed.
func (r *routing) step(now time.Time, v routingView) routed {
	out := routed{touched: map[netip.Addr]bool{}}
	if !r.active {
		if len(r.routers)+len(r.ads) == 0 {
			clear(v.dirty)
			return out
		}
		r.active = true
		for a := range v.cluster.sharers {
			v.dirty[a] = true
		}
	}
	for _, a := range r.gains.due(now) {
		v.dirty[a] = true
	}
	lost := map[netip.Addr]bool{}
	if nodes, heard := r.nodesOf(v); r.reshaped || !slices.EqualFunc(nodes, r.nodes, sameNode) || !sameHearings(heard, r.heard) {
		r.nodes, r.heard, r.reshaped = nodes, heard, false
		r.table.Configure(r.clusterOf())
		for a := range r.decisions {
			if !v.dirty[a] {
				r.review(a, lost, out.touched)
			}
		}
	}
	for a := range v.dirty {
		r.decide(now, v.cluster, a, lost, out.touched)
	}
	clear(v.dirty)
	r.sessionsChanged(v, out.touched)

	if !r.routerID.IsValid() {
		// It is kept, whatever becomes of the Node's addresses: another one would make all sessions anew.
		r.routerID = bgp.RouterID(r.self, r.ownAddresses(v))
	}
	desired, sessions := bgp.Desired{RouterID: r.routerID}, []bfd.Session(nil)
	r.problems, r.unwatched, r.forgotten = r.doubles(), map[string]string{}, map[string]string{}
	strict := map[string]bool{}
	out.secrets = map[string]bool{}
	memo := map[fadeKey]faded{}
	sent := map[string]faded{}
	for _, pr := range r.table.Peers() {
		known := r.routers[pr.Peer]
		if _, double := r.problems[pr.Peer]; double || !pr.Wanted || known == nil {
			continue
		}
		r.needs(known, out.secrets)
		p, missing := r.withPassword(known)
		if missing != "" {
			r.problems[pr.Peer] = problem{bgp.NoPassword, missing}
			if _, known := r.problemAt[pr.Peer]; !known {
				r.problemAt[pr.Peer] = now
			}
			continue
		}
		before, sentBefore := r.faded[pr.Peer]
		if !sentBefore {
			before.wanted = pr.Routes
		}
		f := fade(memo, fadeKey{before, pr.Routes, known.internal(), p.Linger}, now, lost)
		sent[pr.Peer] = f
		p.Routes = f.routes()
		out.wakeAt = soonest(out.wakeAt, f.next())
		desired.Peers = append(desired.Peers, p)
		if known.strict {
			strict[pr.Peer] = true
		}
		if s, ok := r.watch(known, v); ok {
			sessions = append(sessions, s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.problems)) {
		if k := r.routers[name]; k.secret == "" || r.asked[k.secret] { // else it is not known yet
			desired.Impossible = append(desired.Impossible, bgp.Impossible{Peer: name, Reason: r.problems[name].reason, Message: r.problems[name].message})
		}
	}
	r.faded = sent
	maps.DeleteFunc(r.problemAt, func(name string, _ time.Time) bool { _, still := r.problems[name]; return !still })
	maps.DeleteFunc(r.inForce, func(name string, _ bgp.Secret) bool { _, has := sent[name]; return !has })
	out.sessions = !reflect.DeepEqual(desired, r.desired) || !maps.Equal(strict, r.strict)
	out.watched = !slices.Equal(sessions, r.sessions)
	if out.sessions {
		r.revised++
	}
	r.desired, r.sessions, r.strict = desired, sessions, strict
	out.wakeAt = soonest(out.wakeAt, r.gains.wakeAt())
	return out
}

// doubles are wanted peers that mean the same session as an older one: the router could not tell them apart.
func (r *routing) doubles() map[string]problem {
	type end struct {
		address, source netip.Addr
		port            uint16
		names           [3]string
	}
	oldest, out := map[end]*router{}, map[string]problem{}
	for _, pr := range r.table.Peers() {
		one := r.routers[pr.Peer]
		if !pr.Wanted || one == nil {
			continue
		}
		p := &one.peer
		at := end{p.Address, p.SourceAddress, cmp.Or(p.Port, bgp.Port), [3]string{p.Interface, p.SourceInterface, p.Device}}
		other := oldest[at]
		if other == nil {
			oldest[at] = one
			continue
		}
		if one.created.Before(other.created) {
			oldest[at], one, other = one, other, one
		}
		out[one.peer.Name] = problem{bgp.Misconfigured, "it has the same session in mind as BGPPeer " + other.peer.Name +
			", which is older: delete one, or give them different ports or sources, or nodeSelectors that keep them apart"}
	}
	return out
}

// nodesOf returns the nodes as they matter here: of a speaker, which sessions it has with routers.
func (r *routing) nodesOf(v routingView) ([]plan.Node, map[string]hearing) {
	nodes, heard := slices.Clone(v.nodes), map[string]hearing{}
	for i, n := range nodes {
		if n.Name != r.self {
			heard[n.Name] = v.hearing(n.Name)
		}
		nodes[i].Speaker = plan.Speaker{Alive: n.Name == r.self || heard[n.Name].any}
	}
	slices.SortFunc(nodes, func(a, b plan.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes, heard
}

func sameNode(a, b plan.Node) bool {
	return a.Name == b.Name && a.NetworkUnavailable == b.NetworkUnavailable && a.Signals == b.Signals &&
		a.Speaker.Alive == b.Speaker.Alive && maps.Equal(a.Labels, b.Labels)
}

func (r *routing) clusterOf() routes.Cluster {
	pools, heard := maps.Clone(r.pools), r.heard
	c := routes.Cluster{Self: r.self, Nodes: r.nodes, IgnoreExcludeLabel: r.ignore,
		Within: func(pool string, p netip.Prefix) bool { return pools[pool] != nil && pools[pool].ContainsPrefix(p) },
		Sessions: func(node, peer string, f bgp.Family) bool {
			if node == r.self { // as others see it
				return r.states[peer].has(f)
			}
			return heard[node].has(peer, f)
		}}
	for _, o := range r.routers {
		c.Peers = append(c.Peers, o.routePeer())
	}
	for _, o := range r.ads {
		c.Advertisements = append(c.Advertisements, *o)
	}
	for _, o := range r.communities {
		c.Communities = append(c.Communities, *o)
	}
	return c
}

// decide decides one address.
func (r *routing) decide(now time.Time, c *cluster, a netip.Addr, lost, touched map[netip.Addr]bool) {
	services, sharers := c.sharersOf(a)
	if len(sharers) == 0 {
		r.table.Remove(a)
		r.gains.forget(a)
		r.revised++
		delete(r.decisions, a)
		delete(r.able, a)
		return
	}
	_, known := r.decisions[a]
	r.table.Set(routes.Address{Address: a, Sharers: sharers})
	d, _ := r.table.Decision(a)
	was := r.able[a]
	r.able[a] = d.Advertised
	if r.gains.waits(now, a, services, was, d.Advertised, !known) {
		r.table.Set(routes.Address{Address: a, Sharers: elsewhere(sharers, r.self)})
	}
	r.review(a, lost, touched)
}

// elsewhere returns sharers without what kube-proxy on this node may not serve yet.
func elsewhere(sharers []plan.Sharer, self string) []plan.Sharer {
	out := slices.Clone(sharers)
	for i, s := range out {
		if _, here := s.Endpoints[self]; s.Service.Local && here {
			out[i].Endpoints = maps.Clone(s.Endpoints)
			delete(out[i].Endpoints, self)
		}
	}
	return out
}

// review takes in what was decided of an address, and notes those that go to others.
func (r *routing) review(a netip.Addr, lost, touched map[netip.Addr]bool) {
	before := r.decisions[a]
	d, _ := r.table.Decision(a)
	if before.Advertised && !d.Advertised && handedOver(d) {
		lost[a] = true
	}
	if before.Advertised != d.Advertised || !slices.Equal(before.Outcomes, d.Outcomes) || !slices.Equal(before.Nodes, d.Nodes) {
		r.revised++
		touched[a] = true
	}
	r.decisions[a] = d
}

// handedOver reports whether traffic that still comes for an address would be served here, while others advertise it.
func handedOver(d routes.Decision) bool {
	return len(d.Nodes) > 0 && slices.ContainsFunc(d.Outcomes, func(o routes.Outcome) bool {
		return plan.InWords(o.Reason) != "" || o.Reason == v1beta1.ReasonNotSelected || o.Reason == v1beta1.ReasonNodeExcluded
	})
}

// needs notes the Secrets that a session needs.
func (r *routing) needs(k *router, names map[string]bool) {
	if k.secret != "" {
		names[k.secret] = true
	}
	if p := r.profiles[k.bfd]; p != nil {
		for _, key := range p.keys {
			names[key.secret] = true
		}
	}
}

// withPassword returns the peer with its password. One that is in force stays so when its Secret is gone, or another one is named that has
// none; and while that other one is being read, a session stays as it is also where it had no password.
func (r *routing) withPassword(k *router) (p bgp.Peer, problem string) {
	p = k.peer
	if k.secret == "" {
		r.inForce[p.Name] = ""
		return p, ""
	}
	if problem = r.missing(k.secret); problem != "" {
		used, has := r.inForce[p.Name]
		switch {
		case !has, used == "" && r.asked[k.secret]:
			return p, problem
		case r.asked[k.secret]:
			r.forgotten[p.Name] = problem
		}
		p.Password = used
		return p, ""
	}
	p.Password = r.passwords[k.secret].secret
	r.inForce[p.Name] = p.Password
	return p, ""
}

// missing says why a Secret has no password; "" where it has one.
func (r *routing) missing(secret string) string {
	if word, there := r.passwords[secret]; there {
		return word.problem
	}
	if !r.asked[secret] {
		return "the Secret " + secret + " is being read"
	}
	return cmp.Or(r.unreadable[secret], "in Clarion's namespace there is no Secret "+secret)
}

// watch returns the BFD session that a peer is watched with; false for none.
func (r *routing) watch(k *router, v routingView) (bfd.Session, bool) {
	profile := r.profiles[k.bfd]
	if profile == nil {
		if k.bfd != "" {
			r.unwatched[k.peer.Name] = "there is no BFDProfile " + k.bfd
		}
		return bfd.Session{}, false
	}
	p := k.peer
	s := bfd.Session{Name: p.Name, Profile: profile.Profile, Path: bfd.Path{Local: p.SourceAddress, Peer: p.Address, Interface: p.Device}}
	switch {
	case p.Interface != "":
		// The router's address is what BGP found.
		if now, known := v.bgp.Session(p.Name); known && now.Remote.Addr().IsValid() {
			r.far[p.Name] = now.Remote.Addr().WithZone("")
		}
		s.Path.Interface, s.Path.Peer = p.Interface, r.far[p.Name]
		if !s.Path.Peer.IsValid() {
			return s, false
		}
	case p.SourceInterface != "":
		// Which of the interface's addresses it is, too.
		if now, known := v.bgp.Session(p.Name); known && now.Local.Addr().IsValid() {
			r.near[p.Name] = now.Local.Addr().WithZone("")
		}
		if s.Path.Local = r.near[p.Name]; !s.Path.Local.IsValid() {
			return s, false
		}
	}
	if p.Interface == "" {
		s.Path.Multihop = p.Multihop || p.TTLSecurity > 1 || k.internal() && r.isDistant(p.Name, p.Address, v.links)
	}
	if s.Path.Multihop || !s.Path.Peer.Is4() {
		s.EchoInterval = 0
	}
	// BGP comes first (docs/adr/0008). FRR makes the BFD session once more when BGP is established; if it was up before, FRR takes that for a
	// failure and resets BGP, which costs the routes that its graceful restart has kept. What has failed, though, says by coming
	// up that there can be a session again, and strict ones wait for that in any case.
	now, _ := v.bgp.Session(p.Name)
	watched, _ := v.watched.Session(p.Name)
	s.Held = !k.strict && now.State != bgp.Established && !watched.Failed
	for i, k := range profile.keys {
		word := r.passwords[k.secret]
		var key packet.Key // shorter ones end in zeros (RFC 5880 section 6.7.3)
		if word.secret == "" || len(word.secret) > len(key) {
			// Without its keys the session stays as it is, or is not made: one that is not authenticated is none.
			r.unwatched[p.Name] = cmp.Or(r.missing(k.secret), fmt.Sprintf("the password in Secret %s is longer than %d bytes, which BFD does not allow", k.secret, len(key)))
			return r.watched(p.Name)
		}
		copy(key[:], word.secret)
		s.Auth.Keys[i] = bfd.Key{ID: k.id, Used: true, Secret: key}
	}
	return s, true
}

// watched returns the BFD session that a peer is watched with so far; false for none.
func (r *routing) watched(peer string) (bfd.Session, bool) {
	i := slices.IndexFunc(r.sessions, func(s bfd.Session) bool { return s.Name == peer })
	if i < 0 {
		return bfd.Session{}, false
	}
	return r.sessions[i], true
}

// isDistant reports whether an iBGP router is on none of the node's networks. One that was once stays a neighbour: a link that
// loses its addresses must not look like another path.
func (r *routing) isDistant(name string, a netip.Addr, links []layer2.Link) bool {
	for _, l := range links {
		if slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
			r.distant[name] = false
			return false
		}
	}
	distant, known := r.distant[name]
	if !known {
		distant = true
		r.distant[name] = true
	}
	return distant
}

func (r *routing) ownAddresses(v routingView) []netip.Addr {
	if n := v.cluster.nodes[r.self]; n != nil {
		return n.addresses
	}
	return nil
}

// sessionsChanged notes the addresses of which there is something else to say because sessions came or went.
func (r *routing) sessionsChanged(v routingView, touched map[netip.Addr]bool) {
	now := map[string]carried{}
	for _, s := range v.bgp.Sessions {
		now[s.Peer] = carriedBy(s)
	}
	if maps.Equal(now, r.states) {
		return
	}
	r.states = now
	r.revised++
	for a, d := range r.decisions {
		if len(d.Nodes) > 0 {
			touched[a] = true
		}
	}
}

// sent reports whether this node advertises an address to a router with which it has a session.
func (r *routing) sent(a netip.Addr) bool {
	if !r.decisions[a].Advertised {
		return false
	}
	for _, p := range r.desired.Peers {
		if r.states[p.Name].has(bgp.FamilyOf(a)) && covers(p.Routes, a) {
			return true
		}
	}
	return false
}

// covers reports whether one of the routes is to an address or a network that has it.
func covers(all *bgp.Routes, a netip.Addr) bool {
	for bits := a.BitLen(); bits > 0; bits-- {
		if has(all, netip.PrefixFrom(a, bits).Masked()) {
			return true
		}
	}
	return false
}

// established reports whether any session is, and carries routes.
func (r *routing) established() bool {
	for _, c := range r.states {
		if c != 0 {
			return true
		}
	}
	return false
}
