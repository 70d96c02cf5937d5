package bgp

import "slices"

// Effect is what a change of a peer's settings does to its session.
type Effect uint8

// Effects, from the least.
const (
	// InPlace: the session goes on.
	InPlace Effect = iota
	// Remake: the session is ended and made again.
	Remake
	// Replace: it is a session with somebody else.
	Replace
)

// Compare tells what it takes to go from one peer's settings to others, both with defaults filled in: which
// settings make that necessary, and which ones wait for the next session to be in force.
func Compare(old, new *Peer) (effect Effect, because, pending []string) {
	for _, f := range []struct {
		name   string
		differ bool
		effect Effect
	}{
		{"peerAddress", old.Address != new.Address, Replace},
		{"interface", old.Interface != new.Interface, Replace},
		{"peerPort", old.Port != new.Port, Replace},
		{"vrf", old.Device != new.Device, Replace},
		{"ASN", old.ASN != new.ASN, Remake},
		{"peerASN", old.PeerASN != new.PeerASN || old.DynamicASN != new.DynamicASN, Remake},
		{"routerID", old.RouterID != new.RouterID, Remake},
		{"sourceAddress", old.SourceAddress != new.SourceAddress || old.SourceInterface != new.SourceInterface, Remake},
		{"password", old.Password != new.Password, Remake},
		{"ebgpMultiHop", old.Multihop != new.Multihop, Remake},
		{"ttlSecurity", old.TTLSecurity != new.TTLSecurity, Remake},
		{"families", !slices.Equal(old.Families, new.Families), Remake},
	} {
		if f.differ {
			effect = max(effect, f.effect)
			because = append(because, f.name)
		}
	}
	// These go into the OPEN: worth no interruption.
	if old.HoldTime != new.HoldTime {
		pending = append(pending, "holdTime")
	}
	if old.GracefulRestart != new.GracefulRestart {
		pending = append(pending, "enableGracefulRestart")
	}
	if old.RestartTime != new.RestartTime && new.GracefulRestart {
		pending = append(pending, "restartTime")
	}
	return effect, because, pending
}
