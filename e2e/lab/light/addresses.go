package light

import (
	"fmt"
	"net/netip"
)

// addresses hands out the addresses of a prefix, each once at a time, and
// starts again from the first when it has been through all.
type addresses struct {
	prefix netip.Prefix
	last   netip.Addr
	taken  map[netip.Addr]bool
}

// first is the place of the first pod: the network's own address and the next,
// which CNI plugins use as the gateway, are left out.
const first = 2

func newAddresses(prefix netip.Prefix) *addresses {
	a := &addresses{prefix: prefix, taken: map[netip.Addr]bool{}}
	a.rewind()
	return a
}

func (a *addresses) rewind() {
	a.last = a.prefix.Masked().Addr()
	for range first - 1 {
		a.last = a.last.Next()
	}
}

// next takes the next free address.
func (a *addresses) next() (netip.Addr, error) {
	for range 2 {
		for {
			ip := a.last.Next()
			if !a.prefix.Contains(ip) || (ip.Is4() && !a.prefix.Contains(ip.Next())) { // v4: not the broadcast address
				break
			}
			a.last = ip
			if !a.taken[ip] {
				a.taken[ip] = true
				return ip, nil
			}
		}
		a.rewind()
	}
	return netip.Addr{}, fmt.Errorf("no address left in %s", a.prefix)
}

// take takes a certain address.
func (a *addresses) take(ip netip.Addr) error {
	if !a.prefix.Contains(ip) || a.taken[ip] {
		return fmt.Errorf("address %s is not to be had in %s", ip, a.prefix)
	}
	a.taken[ip] = true
	return nil
}

func (a *addresses) release(ip netip.Addr) { delete(a.taken, ip) }
