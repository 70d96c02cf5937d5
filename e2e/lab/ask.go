package lab

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// AskLAN asks on the LAN who has an address, as the client's kernel would, and
// returns everybody who answers within the time, in the order of their first
// answers. The neighbour table is not concerned: this is the wire.
func (l *Lab) AskLAN(ctx context.Context, address netip.Addr, within time.Duration) ([]Neighbour, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ask := askNDP
	if address.Is4() {
		ask = askARP
	}
	var answers func() (net.HardwareAddr, error)
	var stop func() error
	err := l.Client().Machine().InNetwork(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		answers, stop, err = ask(link, address, time.Now().Add(within))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer stop()

	var found []Neighbour
	for {
		mac, err := answers()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		if slices.ContainsFunc(found, func(n Neighbour) bool { return bytes.Equal(n.MAC, mac) }) {
			continue
		}
		n, err := l.neighbour(address, mac)
		if err != nil {
			return found, err
		}
		found = append(found, n)
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
	}
}

// askARP sends a request and returns what waits for the next answer.
func askARP(link *net.Interface, address netip.Addr, until time.Time) (answers func() (net.HardwareAddr, error), stop func() error, err error) {
	c, err := arp.Dial(link)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(c.SetReadDeadline(until), c.Request(address)); err != nil {
		c.Close()
		return nil, nil, err
	}
	return func() (net.HardwareAddr, error) {
		for {
			p, _, err := c.Read()
			if err != nil {
				return nil, err
			}
			if p.Operation == arp.OperationReply && p.SenderIP == address {
				return p.SenderHardwareAddr, nil
			}
		}
	}, c.Close, nil
}

// askNDP does the same with a neighbour solicitation.
func askNDP(link *net.Interface, address netip.Addr, until time.Time) (answers func() (net.HardwareAddr, error), stop func() error, err error) {
	c, _, err := ndp.Listen(link, ndp.LinkLocal)
	if err != nil {
		return nil, nil, err
	}
	everybody, err := ndp.SolicitedNodeMulticast(address)
	if err == nil {
		err = c.SetReadDeadline(until)
	}
	if err == nil {
		err = c.WriteTo(&ndp.NeighborSolicitation{
			TargetAddress: address,
			Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: link.HardwareAddr}},
		}, nil, everybody)
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return func() (net.HardwareAddr, error) {
		for {
			message, _, _, err := c.ReadFrom()
			if err != nil {
				return nil, err
			}
			na, ok := message.(*ndp.NeighborAdvertisement)
			if !ok || na.TargetAddress != address {
				continue
			}
			for _, o := range na.Options {
				if lla, ok := o.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Target {
					return lla.Addr, nil
				}
			}
		}
	}, c.Close, nil
}
