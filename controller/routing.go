package controller

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// What there is to say of the objects that are about BGP. Their names refer to each other, so that a change of one may
// change what is to be said of others; L2Advertisements refer to pools and Nodes alone.

// routingKinds are the kinds of objects that others refer to, or that meet others.
var routingKinds = []string{"BGPPeer", "BGPAdvertisement", "BFDProfile", "Community"}

// routingPause is how long after a look at all of them the next one may follow: many changes come together.
const routingPause = 500 * time.Millisecond

// routingChanged has all objects looked at that refer to others.
func (t *term) routingChanged() {
	select {
	case t.routingSet <- struct{}{}:
	default:
	}
}

// followRouting looks at all objects whenever something changed that they may refer to.
func (t *term) followRouting(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.routingSet:
		}
		for _, o := range t.allObjects(ctx) {
			t.objects.Add(o)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(routingPause):
		}
	}
}

// sessionsAlike reports whether two versions of a Speaker tell the same of its sessions.
func sessionsAlike(before, after any) bool {
	b, ok1 := before.(*clarion.Speaker)
	a, ok2 := after.(*clarion.Speaker)
	return ok1 && ok2 && reflect.DeepEqual(b.Status.BGP, a.Status.BGP) && saysLost(b) == saysLost(a)
}

// routingWorld is what objects refer to.
type routingWorld struct {
	pools       []clarion.IPAddressPool
	nodes       []corev1.Node
	peers       []clarion.BGPPeer
	ads         []clarion.BGPAdvertisement // the oldest first
	profiles    map[string]bool
	communities []clarion.Community // the oldest first
	speakers    []clarion.Speaker
	// services are those that there are, asked for where it matters.
	services func() []corev1.Service
}

func (t *term) routingWorld(ctx context.Context) (*routingWorld, error) {
	var pools clarion.IPAddressPoolList
	var peers clarion.BGPPeerList
	var ads clarion.BGPAdvertisementList
	var profiles clarion.BFDProfileList
	var communities clarion.CommunityList
	var speakers clarion.SpeakerList
	var nodes corev1.NodeList
	for _, err := range []error{
		t.cache.List(ctx, &nodes), t.cache.List(ctx, &pools), t.cache.List(ctx, &peers), t.cache.List(ctx, &ads),
		t.cache.List(ctx, &profiles), t.cache.List(ctx, &communities), t.cache.List(ctx, &speakers),
	} {
		if err != nil {
			return nil, err
		}
	}
	w := &routingWorld{pools: pools.Items, nodes: nodes.Items, peers: peers.Items, ads: slices.Clone(ads.Items), profiles: map[string]bool{},
		communities: slices.Clone(communities.Items), speakers: slices.Clone(speakers.Items)}
	w.services = func() []corev1.Service {
		t.labelsMatter.Store(true)
		var all corev1.ServiceList
		if err := t.cache.List(ctx, &all); err != nil {
			t.log.Error("can't read objects from the cache", "kind", "Service", "error", err)
		}
		return all.Items
	}
	for i := range profiles.Items {
		w.profiles[profiles.Items[i].Name] = true
	}
	slices.SortFunc(w.ads, func(a, b clarion.BGPAdvertisement) int { return byAge(a.ObjectMeta, b.ObjectMeta) })
	slices.SortFunc(w.communities, func(a, b clarion.Community) int { return byAge(a.ObjectMeta, b.ObjectMeta) })
	slices.SortFunc(w.speakers, func(a, b clarion.Speaker) int { return cmp.Compare(a.Name, b.Name) })
	return w, nil
}

func byAge(a, b metav1.ObjectMeta) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// judgePeer says what there is to say of a peer.
func (w *routingWorld) judgePeer(c conditions, p *clarion.BGPPeer, status *clarion.BGPPeerStatus) {
	var up, wanted int32
	var down, unwatched, forgotten []string
	for _, s := range w.speakers {
		if s.Status.BGP == nil {
			continue
		}
		lost := saysLost(&s)
		for _, session := range s.Status.BGP.Sessions {
			switch {
			case session.Peer != p.Name:
				continue
			case lost: // what it said last is not so any more
				down = append(down, s.Name+": "+string(clarion.ReasonNodeLost))
			case session.State == clarion.BGPEstablished:
				up++
				if why, is := session.WithoutBFD(); is {
					unwatched = append(unwatched, s.Name+": "+why)
				}
				if why, is := session.WithoutSecret(); is {
					forgotten = append(forgotten, s.Name+": "+why)
				}
			case session.LastError != "":
				down = append(down, fmt.Sprintf("%s: %s", s.Name, session.LastError))
			default:
				down = append(down, fmt.Sprintf("%s: %s", s.Name, session.State))
			}
			wanted++
		}
	}
	status.SessionsUp, status.SessionsWanted = &up, &wanted

	profile := string(p.Spec.BFDProfile)
	selection, err := p.Spec.Selection()
	if err != nil {
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonInvalid, err.Error())
	} else {
		c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "the nodes that it selects have sessions with it, as far as they come up")
	}
	tellSelectsNothing(c, selection, false, w.pools, w.nodes)
	var unknown []string
	if profile != "" && !w.profiles[profile] {
		become := "the sessions go on without BFD"
		if p.Spec.BFDMode == clarion.BFDStrict {
			become = "no session begins, for bfdMode is Strict"
		}
		unknown = append(unknown, fmt.Sprintf("there is no BFDProfile %s: %s; create it, or correct bfdProfile", profile, become))
	}
	if len(forgotten) > 0 {
		unknown = append(unknown, "sessions that are made anew, as when a speaker restarts, will have no password: "+firstFew(forgotten))
	}
	c.setIf(len(unknown) > 0, clarion.ConditionUnknownName, clarion.ReasonNameNotFound, strings.Join(unknown, ". "))
	c.setIf(p.Spec.EnableGracefulRestart && profile == "", clarion.ConditionKeepsLostNodes, clarion.ReasonNoBFD,
		fmt.Sprintf("graceful restart without BFD: the router goes on sending traffic to a node that is lost for %s; set bfdProfile, or a shorter restartTime", restartTime(p)))
	c.setIf(len(unwatched) > 0, clarion.ConditionBFDDown, clarion.ReasonBFDNotUp,
		fmt.Sprintf("BFD is not up beside %d of %d sessions: %s", len(unwatched), wanted, firstFew(unwatched)))
	c.setIf(len(down) > 0, clarion.ConditionSessionsDown, clarion.ReasonNotEstablished,
		fmt.Sprintf("%d of %d sessions are up; not up: %s", up, wanted, firstFew(down)))
}

func restartTime(p *clarion.BGPPeer) time.Duration {
	if p.Spec.RestartTime != nil {
		return p.Spec.RestartTime.Duration
	}
	return 2 * time.Minute
}

// firstFew lists the first few of many.
func firstFew(all []string) string {
	const most = 5
	if more := len(all) - most; more > 0 {
		all = append(all[:most:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, "; ")
}

// judgeAdvertisement says what there is to say of a BGPAdvertisement.
func (w *routingWorld) judgeAdvertisement(c conditions, ad *clarion.BGPAdvertisement) {
	unknownPools := missing(ad.Spec.IPAddressPools, func(name string) bool {
		return slices.ContainsFunc(w.pools, func(p clarion.IPAddressPool) bool { return p.Name == name })
	})
	unknownPeers := missing(ad.Spec.Peers, func(name string) bool {
		return slices.ContainsFunc(w.peers, func(p clarion.BGPPeer) bool { return p.Name == name })
	})
	var unknown []string
	for _, name := range unknownPools {
		unknown = append(unknown, "IPAddressPool "+name)
	}
	for _, name := range unknownPeers {
		unknown = append(unknown, "BGPPeer "+name)
	}
	aliases := w.aliases()
	for _, text := range ad.Spec.Communities {
		if _, err := clarion.ParseCommunity(string(text), aliases); err != nil {
			unknown = append(unknown, "community "+string(text))
		}
	}
	selection, err := ad.Spec.Selection()
	tellSelectsNothing(c, selection, len(ad.Spec.IPAddressPoolSelectors) > 0, w.pools, w.nodes)
	switch {
	case err != nil:
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonInvalid, err.Error())
	case len(unknownPools) > 0 && len(unknownPools) == len(ad.Spec.IPAddressPools) && len(ad.Spec.IPAddressPoolSelectors) == 0:
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonPoolNotFound,
			"advertises nothing: there is no IPAddressPool "+strings.Join(unknownPools, ", "))
	case len(w.peers) == 0, len(ad.Spec.Peers) > 0 && len(unknownPeers) == len(ad.Spec.Peers):
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonNoPeers,
			"advertises nothing: there is no BGPPeer that it goes to; create one, or correct peers")
	default:
		c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "advertises the addresses of the pools that it selects")
	}
	c.setIf(len(unknown) > 0, clarion.ConditionUnknownName, clarion.ReasonNameNotFound,
		"there is no "+strings.Join(unknown, ", no ")+": create what is missing, or correct the name; the rest is in force")
	overruled := w.overruled(ad)
	c.setIf(len(overruled) > 0, clarion.ConditionOverruled, clarion.ReasonOlderObjectHolds,
		"where it meets older BGPAdvertisements, those hold: "+firstFew(overruled)+". Make the values agree, or keep the advertisements apart")
	beyond := w.beyond(ad)
	c.setIf(len(beyond) > 0, clarion.ConditionAggregateRefused, clarion.ReasonBeyondPool,
		"an aggregate of the chosen length would reach beyond the pool: "+firstFew(beyond)+"; these addresses are advertised one by one")
}

func missing(names []clarion.ObjectName, exists func(string) bool) (out []string) {
	for _, name := range names {
		if !exists(string(name)) {
			out = append(out, string(name))
		}
	}
	slices.Sort(out)
	return out
}

// aliases are the names that the Communities give, the oldest first.
func (w *routingWorld) aliases() map[string]clarion.CommunityValue {
	out := map[string]clarion.CommunityValue{}
	for i := range w.communities {
		for _, a := range w.communities[i].Spec.Communities {
			if value, err := clarion.ParseCommunityValue(a.Value); err == nil {
				if _, taken := out[a.Name]; !taken {
					out[a.Name] = value
				}
			}
		}
	}
	return out
}

// overruled says in which values an advertisement contradicts an older one where they may meet on a route: in a common pool, on
// prefixes of one length, toward a common peer to which the value is told (localPref to internal ones, asPathPrepend to external
// ones). That is told as soon as it is written, whether there is a Service or not; where both select Services, or nodes, in ways of
// their own, when both select one that there is.
func (w *routingWorld) overruled(ad *clarion.BGPAdvertisement) (out []string) {
	for i := range w.ads {
		older := &w.ads[i]
		if older.Name == ad.Name {
			break
		}
		if !contradict(&older.Spec, &ad.Spec) {
			continue
		}
		internal, external := w.meet(older, ad)
		for _, v := range []struct {
			name     string
			had, has any
			set      bool
		}{
			{"localPref", deref(older.Spec.LocalPref), deref(ad.Spec.LocalPref), internal && older.Spec.LocalPref != nil && ad.Spec.LocalPref != nil},
			{"med", deref(older.Spec.MED), deref(ad.Spec.MED), (internal || external) && older.Spec.MED != nil && ad.Spec.MED != nil},
			{"asPathPrepend", older.Spec.ASPathPrepend, ad.Spec.ASPathPrepend, external && older.Spec.ASPathPrepend != 0 && ad.Spec.ASPathPrepend != 0},
		} {
			if v.set && v.had != v.has {
				out = append(out, fmt.Sprintf("%s is %v as BGPAdvertisement %s says, not %v", v.name, v.had, older.Name, v.has))
			}
		}
	}
	return out
}

func deref(p *uint32) uint32 {
	if p == nil {
		return 0
	}
	return *p
}

// contradict reports whether two advertisements have different values for anything.
func contradict(a, b *clarion.BGPAdvertisementSpec) bool {
	return a.LocalPref != nil && b.LocalPref != nil && *a.LocalPref != *b.LocalPref || a.MED != nil && b.MED != nil && *a.MED != *b.MED ||
		a.ASPathPrepend != 0 && b.ASPathPrepend != 0 && a.ASPathPrepend != b.ASPathPrepend
}

// meet reports whether two advertisements may have something to say of one route to an internal peer, and to an external one.
func (w *routingWorld) meet(a, b *clarion.BGPAdvertisement) (internal, external bool) {
	first, err1 := a.Spec.Selection()
	second, err2 := b.Spec.Selection()
	if err1 != nil || err2 != nil {
		return false, false
	}
	var common []string // pools
	for i := range w.pools {
		if p := &w.pools[i]; first.Pool(p.Name, p.Labels) && second.Pool(p.Name, p.Labels) && w.sameLength(a, b, p) {
			common = append(common, p.Name)
		}
	}
	if len(common) == 0 ||
		!alike(a.Spec.ServiceSelectors, b.Spec.ServiceSelectors) && !slices.ContainsFunc(w.services(), func(s corev1.Service) bool {
			return first.Service(s.Labels) && second.Service(s.Labels) && hasOneOf(&s, common)
		}) ||
		!alike(a.Spec.NodeSelectors, b.Spec.NodeSelectors) && !slices.ContainsFunc(w.nodes, func(n corev1.Node) bool {
			return first.Node(n.Labels) && second.Node(n.Labels)
		}) {
		return false, false
	}
	for i := range w.peers {
		if p := &w.peers[i]; a.Spec.AdvertisesTo(p.Name) && b.Spec.AdvertisesTo(p.Name) {
			internal, external = internal || isInternal(&p.Spec), external || !isInternal(&p.Spec)
		}
	}
	return internal, external
}

// alike reports whether two lists of selectors select something in common whatever there is to select.
func alike(a, b []clarion.LabelSelector) bool {
	return len(a) == 0 || len(b) == 0 || reflect.DeepEqual(a, b)
}

// hasOneOf reports whether a Service has an address of one of the pools.
func hasOneOf(s *corev1.Service, pools []string) bool {
	var addresses []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			addresses = append(addresses, a)
		}
	}
	return slices.ContainsFunc(clarion.OurAddresses(s.Annotations, s.Status.Conditions, addresses), func(a clarion.Assigned) bool {
		return slices.Contains(pools, a.Pool)
	})
}

// sameLength reports whether two advertisements have prefixes of one length for addresses of a pool. An aggregate that is refused
// is of single addresses.
func (w *routingWorld) sameLength(a, b *clarion.BGPAdvertisement, p *clarion.IPAddressPool) bool {
	ranges, err := clarion.ParsePool(&p.Spec)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ranges.Addresses, func(r netipx.IPRange) bool {
		of := func(ad *clarion.BGPAdvertisement) int32 {
			length, full := ad.Spec.AggregationLength, int32(r.From().BitLen())
			if r.From().Is6() {
				length = ad.Spec.AggregationLengthV6
			}
			if length == nil {
				return full
			}
			return *length
		}
		return of(a) == of(b) || len(w.beyond(a))+len(w.beyond(b)) > 0
	})
}

// isInternal reports whether a peer is of the nodes' own AS.
func isInternal(p *clarion.BGPPeerSpec) bool {
	own := p.MyASN
	if p.LocalASN != nil {
		own = *p.LocalASN
	}
	return p.DynamicASN == clarion.DynamicASNInternal || p.PeerASN != nil && *p.PeerASN == own
}

// judgeCommunity says what there is to say of a Community.
func (w *routingWorld) judgeCommunity(c conditions, o *clarion.Community) {
	c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "BGPAdvertisements may use the names")
	var overruled []string
	for _, a := range o.Spec.Communities {
		for i := range w.communities {
			older := &w.communities[i]
			if older.Name == o.Name {
				break
			}
			at := slices.IndexFunc(older.Spec.Communities, func(b clarion.CommunityAlias) bool { return b.Name == a.Name })
			if at < 0 {
				continue
			}
			if value := older.Spec.Communities[at].Value; value != a.Value {
				overruled = append(overruled, fmt.Sprintf("%s means %s as Community %s says, not %s", a.Name, value, older.Name, a.Value))
			}
			break
		}
	}
	c.setIf(len(overruled) > 0, clarion.ConditionOverruled, clarion.ReasonOlderObjectHolds,
		"older objects hold: "+firstFew(overruled)+". Give the names one meaning each")
}

// judgeProfile says what there is to say of a BFDProfile.
func judgeProfile(c conditions) {
	c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "the sessions of BGPPeers that name it are watched with it")
}

// beyond are the parts of pools that an advertisement selects for which no aggregate can be made: it would reach beyond the
// pool, whose ranges count together.
func (w *routingWorld) beyond(ad *clarion.BGPAdvertisement) (out []string) {
	selection, err := ad.Spec.Selection()
	if err != nil {
		return nil
	}
	for i := range w.pools {
		p := &w.pools[i]
		if !selection.Pool(p.Name, p.Labels) {
			continue
		}
		ranges, err := clarion.ParsePool(&p.Spec)
		if err != nil {
			continue // said of the pool
		}
		var b netipx.IPSetBuilder
		for _, r := range ranges.Addresses {
			b.AddRange(r)
		}
		set, err := b.IPSet()
		if err != nil {
			continue // likewise
		}
		for _, q := range set.Prefixes() {
			length := ad.Spec.AggregationLength
			if q.Addr().Is6() {
				length = ad.Spec.AggregationLengthV6
			}
			if length != nil && int(*length) < q.Addr().BitLen() && q.Bits() > int(*length) {
				out = append(out, fmt.Sprintf("%s of IPAddressPool %s", q, p.Name))
			}
		}
	}
	return out
}
