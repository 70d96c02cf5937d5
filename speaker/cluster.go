package speaker

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/speaker/layer2"
	"github.com/clarion-lb/clarion/speaker/plan"
)

// cluster is what the API server last said, as far as it matters, with what has changed since the last
// step. It belongs to the loop.
type cluster struct {
	services map[types.NamespacedName]*service
	slices   map[types.NamespacedName]*slice
	nodes    map[string]*node
	ads      map[string]*plan.Advertisement
	pools    map[string]map[string]string // labels, by name

	slicesOf map[types.NamespacedName]map[types.NamespacedName]*slice // by Service
	sharers  map[netip.Addr]map[types.NamespacedName]bool

	dirty    map[netip.Addr]bool           // addresses to decide anew
	wanted   map[netip.Addr]bool           // addresses that another node is asked to take since the last step
	touched  map[types.NamespacedName]bool // Services whose condition may have changed
	allDirty bool                          // the view has changed, and with it perhaps everything
}

func newCluster() *cluster {
	return &cluster{
		services: map[types.NamespacedName]*service{},
		slices:   map[types.NamespacedName]*slice{},
		nodes:    map[string]*node{},
		ads:      map[string]*plan.Advertisement{},
		pools:    map[string]map[string]string{},
		slicesOf: map[types.NamespacedName]map[types.NamespacedName]*slice{},
		sharers:  map[netip.Addr]map[types.NamespacedName]bool{},
		dirty:    map[netip.Addr]bool{},
		wanted:   map[netip.Addr]bool{},
		touched:  map[types.NamespacedName]bool{},
	}
}

// setService takes in a Service, or with nil that it has no address of ours any more.
func (c *cluster) setService(key types.NamespacedName, s *service) {
	before := c.services[key]
	if before == nil && s == nil {
		return
	}
	c.touched[key] = true
	if before != nil && s != nil && before.uid == s.uid && before.plannedAlike(s) {
		c.services[key] = s
		return
	}
	if before != nil {
		for _, a := range before.addresses {
			delete(c.sharers[a.address], key)
			if len(c.sharers[a.address]) == 0 {
				delete(c.sharers, a.address)
			}
			c.dirty[a.address] = true
		}
		delete(c.services, key)
	}
	if s != nil {
		c.services[key] = s
		for _, a := range s.addresses {
			if c.sharers[a.address] == nil {
				c.sharers[a.address] = map[types.NamespacedName]bool{}
			}
			c.sharers[a.address][key] = true
			c.dirty[a.address] = true
			// What was asked for before this speaker began, or for what was another Service, is done or past: a start moves nothing.
			if before != nil && before.uid == s.uid && before.from != s.from && s.from != "" {
				c.wanted[a.address] = true
			}
		}
	}
}

// setSlice takes in an EndpointSlice, or with nil that it is gone.
func (c *cluster) setSlice(key types.NamespacedName, s *slice) {
	before := c.slices[key]
	switch {
	case before == nil && s == nil, before != nil && s != nil && before.equal(s):
		return
	}
	if before != nil {
		delete(c.slices, key)
		delete(c.slicesOf[before.service], key)
		if len(c.slicesOf[before.service]) == 0 {
			delete(c.slicesOf, before.service)
		}
		c.endpointsChanged(before)
	}
	if s != nil {
		c.slices[key] = s
		if c.slicesOf[s.service] == nil {
			c.slicesOf[s.service] = map[types.NamespacedName]*slice{}
		}
		c.slicesOf[s.service][key] = s
		c.endpointsChanged(s)
	}
}

func (c *cluster) endpointsChanged(s *slice) {
	if svc := c.services[s.service]; svc != nil {
		for _, a := range svc.addresses {
			if layer2.FamilyOf(a.address) == s.family {
				c.dirty[a.address] = true
			}
		}
	}
}

// setNode takes in a Node, or with nil that it is gone.
func (c *cluster) setNode(name string, n *node) {
	before := c.nodes[name]
	switch {
	case before == nil && n == nil, before != nil && n != nil && before.equal(n):
		return
	case n == nil:
		delete(c.nodes, name)
	default:
		c.nodes[name] = n
	}
	c.allDirty = true
}

// setAdvertisement takes in an L2Advertisement, or with nil that it is gone or says nothing.
func (c *cluster) setAdvertisement(name string, ad *plan.Advertisement) {
	if ad == nil {
		delete(c.ads, name)
	} else {
		c.ads[name] = ad
	}
	c.allDirty = true
}

// setPool takes in the labels of a pool.
func (c *cluster) setPool(name string, exists bool, labels map[string]string) {
	before, had := c.pools[name]
	if had == exists && maps.Equal(before, labels) {
		return
	}
	delete(c.pools, name)
	if exists {
		c.pools[name] = labels
	}
	c.allDirty = true
}

func (c *cluster) poolLabels(pool string) map[string]string { return c.pools[pool] }

// endpoints returns a Service's endpoints of one family.
func (c *cluster) endpoints(key types.NamespacedName, family layer2.Family) plan.Endpoints {
	var only *slice
	for _, s := range c.slicesOf[key] {
		if s.family != family {
			continue
		}
		if only != nil {
			return c.mergedEndpoints(key, family)
		}
		only = s
	}
	if only == nil {
		return nil
	}
	return only.endpoints
}

func (c *cluster) mergedEndpoints(key types.NamespacedName, family layer2.Family) plan.Endpoints {
	merged := plan.Endpoints{}
	for _, s := range c.slicesOf[key] {
		if s.family != family {
			continue
		}
		for node, f := range s.endpoints {
			have := merged[node]
			have.Ready = have.Ready || f.Ready
			have.ServingTerminating = have.ServingTerminating || f.ServingTerminating
			merged[node] = have
		}
	}
	return merged
}

// sharersOf returns the Services that have an address, in order of their names, and the same as the plan
// needs them.
func (c *cluster) sharersOf(address netip.Addr) ([]*service, []plan.Sharer) {
	keys := slices.SortedFunc(maps.Keys(c.sharers[address]), func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	services, sharers := make([]*service, len(keys)), make([]plan.Sharer, len(keys))
	for i, key := range keys {
		s := c.services[key]
		services[i] = s
		sharers[i] = plan.Sharer{Service: s.plan, Endpoints: c.endpoints(key, layer2.FamilyOf(address))}
		for _, a := range s.addresses {
			if a.address == address {
				sharers[i].Pool = a.pool
			}
		}
	}
	return services, sharers
}

// named reports whether any advertisement names an interface.
func (c *cluster) named(name string) bool {
	for _, ad := range c.ads {
		if ad.Interfaces != nil && ad.Interfaces(name) {
			return true
		}
	}
	return false
}
