package speaker

import (
	"net/netip"
	"slices"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// How much the Speaker object has room for.
const (
	maxOnLink   = 64
	maxGateways = 16
)

// surroundings are the networks that this node is on and the routers that it sends by, as its Speaker object tells them
// to the controller, which keeps what they need for themselves from Services. Routers' link-local addresses are left out: they can't be
// a Service's anyway.
func surroundings(links []layer2.Link) *v1beta1.SpeakerNetwork {
	var onLink []netip.Prefix
	var gateways []netip.Addr
	for _, l := range links {
		onLink = append(onLink, l.Prefixes...)
		for _, r := range l.Routers {
			if r.IsGlobalUnicast() {
				gateways = append(gateways, r)
			}
		}
	}
	slices.SortFunc(onLink, netip.Prefix.Compare)
	slices.SortFunc(gateways, netip.Addr.Compare)
	return &v1beta1.SpeakerNetwork{OnLink: texts(slices.Compact(onLink), maxOnLink), Gateways: texts(slices.Compact(gateways), maxGateways)}
}

// texts writes the first of a list.
func texts[T interface{ String() string }](list []T, most int) (out []string) {
	for _, x := range list[:min(len(list), most)] {
		out = append(out, x.String())
	}
	return out
}
