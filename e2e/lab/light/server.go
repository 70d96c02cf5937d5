package light

import (
	"errors"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/clarion-lb/clarion/e2e/app/web"
)

// server answers for one pod: its addresses are on the node's loopback
// interface, its ports answer as the lab's test server.
type server struct {
	http *http.Server
	ips  []netip.Addr
}

func serve(object *corev1.Pod, node string, ips []netip.Addr) (*server, error) {
	s := &server{http: &http.Server{Handler: web.Handler(object.Name, node)}, ips: ips}
	if err := s.addAddresses(); err != nil {
		s.close()
		return nil, err
	}
	for _, c := range object.Spec.Containers {
		for _, port := range c.Ports {
			if port.Protocol != corev1.ProtocolTCP && port.Protocol != "" {
				continue
			}
			for _, ip := range ips {
				l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), strconv.Itoa(int(port.ContainerPort))))
				if err != nil {
					s.close()
					return nil, err
				}
				go s.http.Serve(l) // ends with close
			}
		}
	}
	return s, nil
}

func (s *server) addAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, ip := range s.ips {
		if err := netlink.AddrReplace(lo, hostAddr(ip)); err != nil {
			return err
		}
	}
	return nil
}

// close ends the server at once and takes its addresses away.
func (s *server) close() {
	s.http.Close()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		log.Print(err)
		return
	}
	for _, ip := range s.ips {
		if err := netlink.AddrDel(lo, hostAddr(ip)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			log.Print(err)
		}
	}
}

func hostAddr(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{
		IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())},
		Flags: unix.IFA_F_NODAD,
	}
}
