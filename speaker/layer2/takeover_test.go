package layer2

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

// Of thousands of addresses that are taken over at once, those that somebody asked for while this node stood by are
// announced before any other.
func TestThoseAskedForComeFirst(t *testing.T) {
	for _, family := range []Family{IPv4, IPv6} {
		t.Run(family.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.see(link("eth0", 2, ourMAC))
				all := scattered(family, 3*listenBatch)
				standby := on("eth0", all...)
				for i := range standby {
					standby[i].Standby = true
				}
				w.apply(standby...)
				p := w.port("eth0", family)
				inOrder := slices.SortedFunc(slices.Values(all), netip.Addr.Compare)
				wanted := []netip.Addr{inOrder[len(all)-1], inOrder[len(all)/2], inOrder[len(all)-joinBatch]}
				for _, a := range wanted {
					w.after(1)
					p.hear(clientRequest(clientMAC, a))
				}
				slices.Reverse(wanted) // the last one asked for comes first

				w.apply(on("eth0", all...)...)
				var first []netip.Addr
				p.mu.Lock()
				for _, frame := range p.sent {
					for _, a := range all {
						if _, ok := claims(frame, a); ok && !slices.Contains(first, a) {
							first = append(first, a)
						}
					}
					if len(first) == len(wanted) {
						break
					}
				}
				p.mu.Unlock()
				if fmt.Sprint(first) != fmt.Sprint(wanted) {
					t.Errorf("announced first: %v, asked for: %v", first, wanted)
				}
				w.expect("before the rest is announced", fmt.Sprintf("eth0/%s Answering %d/%[2]d", family, len(all)))
			})
		})
	}
}
