package bgp

import (
	"errors"
	"fmt"
	"time"
)

// asTrans stands in for large ASNs where a router knows none (RFC 6793).
const asTrans = 23456

// MaxPassword is how long the kernel lets a TCP-MD5 key be.
const MaxPassword = 80

// validate tells why a peer with its defaults filled in can't be.
func (p *Peer) validate() error {
	bad := func(format string, args ...any) error { return fmt.Errorf(format, args...) }
	switch {
	case p.Name == "":
		return errors.New("the peer has no name")
	case p.Address.IsValid() == (p.Interface != ""):
		return errors.New("want either the router's address or the interface that it is on")
	case p.Address.IsValid() && (p.Address.IsUnspecified() || p.Address.IsMulticast()):
		return bad("%s is not the address of a router", p.Address)
	case p.ASN == 0 || p.ASN == asTrans || p.PeerASN == asTrans:
		return errors.New("an ASN is from 1 to 4294967295, and not 23456")
	case (p.PeerASN == 0) == (p.DynamicASN == NamedASN):
		return errors.New("want either peerASN or dynamicASN")
	case !p.RouterID.Is4() || p.RouterID.IsUnspecified():
		return errors.New("the router ID must be like an IPv4 address other than 0.0.0.0")
	case p.SourceAddress.IsValid() && p.Address.IsValid() && p.SourceAddress.Is4() != p.Address.Is4():
		return bad("sourceAddress %s and peerAddress %s are of different families", p.SourceAddress, p.Address)
	case len(p.Password) > MaxPassword:
		return bad("the password is longer than %d bytes, which TCP-MD5 does not allow", MaxPassword)
	case p.TTLSecurity < 0 || p.TTLSecurity > 254:
		return errors.New("ttlSecurity is from 1 to 254 hops")
	case p.HoldTime != 0 && p.HoldTime < 3*time.Second || p.HoldTime > 65535*time.Second:
		return bad("holdTime %s is neither 0 nor from 3s to 65535s (RFC 4271 section 4.2)", p.HoldTime)
	case p.RestartTime > 4095*time.Second:
		return bad("restartTime %s is longer than 4095s (RFC 4724 section 3)", p.RestartTime)
	}
	return nil
}
