package speaker

import (
	"net/netip"
	"slices"
	"time"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// surroundings are the networks that this node is on and the routers that it sends by, as its Speaker object tells them
// to the controller, which keeps what they need for themselves from Services.
type surroundings struct {
	gateways []netip.Addr
	asked    time.Time
}

// How much the Speaker object has room for, and for how long the kernel's answer about routes is taken to hold.
const (
	maxOnLink      = 64
	maxGateways    = 16
	gatewaysAreOld = 10 * time.Second
)

func (s *surroundings) of(now time.Time, links []layer2.Link) *v1beta1.SpeakerNetwork {
	if s.asked.IsZero() || now.Sub(s.asked) >= gatewaysAreOld {
		s.gateways, s.asked = gateways(), now
	}
	var onLink []netip.Prefix
	for _, l := range links {
		onLink = append(onLink, l.Prefixes...)
	}
	slices.SortFunc(onLink, netip.Prefix.Compare)
	slices.SortFunc(s.gateways, netip.Addr.Compare)
	onLink, s.gateways = slices.Compact(onLink), slices.Compact(s.gateways)
	return &v1beta1.SpeakerNetwork{OnLink: texts(onLink, maxOnLink), Gateways: texts(s.gateways, maxGateways)}
}

// texts writes the first of a list.
func texts[T interface{ String() string }](list []T, most int) (out []string) {
	for _, x := range list[:min(len(list), most)] {
		out = append(out, x.String())
	}
	return out
}
