//go:build !linux

package gossip

import (
	"net"
	"net/netip"
)

// datagrams send and receive by a UDP socket.
type datagrams struct{ conn *net.UDPConn }

func newDatagrams(c *net.UDPConn) (*datagrams, error) { return &datagrams{c}, nil }

func (d *datagrams) send(packet []byte, to netip.AddrPort) error {
	_, err := d.conn.WriteToUDPAddrPort(packet, to)
	return err
}

func (d *datagrams) receive(b []byte) (n int, from netip.AddrPort, err error) {
	return d.conn.ReadFromUDPAddrPort(b)
}
