package v1beta1

import (
	"path"
	"slices"
)

// Selection says which pools, Services and nodes an advertisement is about: its selectors, compiled
// once. It is not changed after, so everybody may read it.
//
// +kubebuilder:object:generate=false
type Selection struct {
	poolNames     map[string]bool
	poolSelectors anyOf
	services      anyOf
	nodes         anyOf
	preferred     []preference
}

// preference is a compiled PreferredNodeSelector.
type preference struct {
	weight int32
	nodes  anyOf
}

// Selection compiles what the advertisement selects. The error names the selector that can't be read.
func (s *L2AdvertisementSpec) Selection() (*Selection, error) {
	selection, err := newSelection(s.IPAddressPools, s.IPAddressPoolSelectors, s.ServiceSelectors, s.NodeSelectors)
	if err != nil {
		return nil, err
	}
	for _, p := range s.PreferredNodeSelectors {
		nodes, err := compileSelectors("preferredNodeSelectors", []LabelSelector{p.Preference})
		if err != nil {
			return nil, err
		}
		selection.preferred = append(selection.preferred, preference{p.Weight, nodes})
	}
	return selection, nil
}

// Selection compiles what the advertisement selects. The error names the selector that can't be read.
func (s *BGPAdvertisementSpec) Selection() (*Selection, error) {
	return newSelection(s.IPAddressPools, s.IPAddressPoolSelectors, s.ServiceSelectors, s.NodeSelectors)
}

// Selection compiles which nodes have a session with the peer. The error names the selector that can't be read.
func (s *BGPPeerSpec) Selection() (*Selection, error) {
	return newSelection(nil, nil, nil, s.NodeSelectors)
}

func newSelection(names []ObjectName, pools, services, nodes []LabelSelector) (*Selection, error) {
	s := &Selection{poolNames: make(map[string]bool, len(names))}
	for _, name := range names {
		s.poolNames[string(name)] = true
	}
	var err error
	if s.poolSelectors, err = compileSelectors("ipAddressPoolSelectors", pools); err != nil {
		return nil, err
	}
	if s.services, err = compileSelectors("serviceSelectors", services); err != nil {
		return nil, err
	}
	if s.nodes, err = compileSelectors("nodeSelectors", nodes); err != nil {
		return nil, err
	}
	return s, nil
}

// Pool reports whether the advertisement covers a pool: by name or by its labels; with neither names
// nor selectors it covers every pool.
func (s *Selection) Pool(name string, labels map[string]string) bool {
	if len(s.poolNames) == 0 && len(s.poolSelectors) == 0 {
		return true
	}
	return s.poolNames[name] || s.poolSelectors.matchesOne(labels)
}

// Service reports whether the advertisement covers a Service, by its labels.
func (s *Selection) Service(labels map[string]string) bool { return s.services.matches(labels) }

// Node reports whether a node may announce, by its labels.
func (s *Selection) Node(labels map[string]string) bool { return s.nodes.matches(labels) }

// Preference returns how much a node is preferred, by its labels: the sum of the weights of the preferredNodeSelectors
// that select it.
func (s *Selection) Preference(labels map[string]string) int32 {
	var sum int32
	for _, p := range s.preferred {
		if p.nodes.matchesOne(labels) {
			sum += p.weight
		}
	}
	return sum
}

// AdvertisesTo reports whether the routes go to a BGPPeer; without a list they go to all.
func (s *BGPAdvertisementSpec) AdvertisesTo(peer string) bool {
	return len(s.Peers) == 0 || slices.Contains(s.Peers, ObjectName(peer))
}

// Audience says whom a pool with serviceAllocation is for: its selectors, compiled once. It is not
// changed after, so everybody may read it.
//
// +kubebuilder:object:generate=false
type Audience struct {
	namespaceNames     map[string]bool
	namespaceSelectors anyOf
	services           anyOf
}

// Audience compiles whom the pool is for. The error names the selector that can't be read.
func (s *ServiceAllocation) Audience() (*Audience, error) {
	a := &Audience{namespaceNames: make(map[string]bool, len(s.Namespaces))}
	for _, name := range s.Namespaces {
		a.namespaceNames[string(name)] = true
	}
	var err error
	if a.namespaceSelectors, err = compileSelectors("serviceAllocation.namespaceSelectors", s.NamespaceSelectors); err != nil {
		return nil, err
	}
	if a.services, err = compileSelectors("serviceAllocation.serviceSelectors", s.ServiceSelectors); err != nil {
		return nil, err
	}
	return a, nil
}

// Namespace reports whether the pool is for a namespace: by name or by its labels; with neither names
// nor selectors it is for every one.
func (a *Audience) Namespace(name string, labels map[string]string) bool {
	if len(a.namespaceNames) == 0 && len(a.namespaceSelectors) == 0 {
		return true
	}
	return a.namespaceNames[name] || a.namespaceSelectors.matchesOne(labels)
}

// Service reports whether the pool is for a Service of such a namespace, by the Service's labels.
func (a *Audience) Service(labels map[string]string) bool { return a.services.matches(labels) }

// MatchesInterface reports whether the advertisement names an interface. It reports false for every one
// where no interfaces are named: then the on-link rule decides (see interfaces).
func (s *L2AdvertisementSpec) MatchesInterface(name string) bool {
	return slices.ContainsFunc(s.Interfaces, func(g InterfaceGlob) bool { return g.Matches(name) })
}

// Matches reports whether an interface's name is the one meant, or fits the pattern.
func (g InterfaceGlob) Matches(name string) bool {
	// The schema leaves of path.Match's syntax only * and ?; an interface's name has no slash.
	matched, err := path.Match(string(g), name)
	return err == nil && matched
}
