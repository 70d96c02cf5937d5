package inspect

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// ipvsLink is the interface to which kube-proxy in IPVS mode gives the addresses of all Services.
const ipvsLink = "kube-ipvs0"

// ReadHost reads the kernel's settings from proc, which is /proc. links are the interfaces that the node may answer on, with what else
// is known of them. What can't be read is left as it is.
func ReadHost(proc fs.FS, links []Link) Host {
	h := Host{Links: slices.Clone(links), DefaultVia: defaultVia(proc)}
	h.OptmemMax, _ = number(proc, "sys/net/core/optmem_max")
	_, err := fs.Stat(proc, "sys/net/ipv4/conf/"+ipvsLink)
	h.IPVS = err == nil
	for i := range h.Links {
		l := &h.Links[i]
		inForce := func(setting string) int {
			all, _ := number(proc, path.Join("sys/net/ipv4/conf/all", setting))
			own, _ := number(proc, path.Join("sys/net/ipv4/conf", l.Name, setting))
			return max(all, own)
		}
		l.ARPIgnore, l.RPFilter, l.ProxyARP = inForce("arp_ignore"), inForce("rp_filter"), inForce("proxy_arp") > 0
		// Of proxy_ndp "all" is only what sets the others.
		own, _ := number(proc, path.Join("sys/net/ipv6/conf", l.Name, "proxy_ndp"))
		l.ProxyNDP = own > 0
	}
	return h
}

func number(proc fs.FS, name string) (int, error) {
	text, err := fs.ReadFile(proc, name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// defaultVia returns the interfaces of the IPv4 default routes.
func defaultVia(proc fs.FS) (names []string) {
	text, err := fs.ReadFile(proc, "net/route")
	if err != nil {
		return nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		const iface, destination, mask, columns = 0, 1, 7, 11
		f := strings.Fields(lines.Text())
		if len(f) >= columns && f[destination] == "00000000" && f[mask] == "00000000" && !slices.Contains(names, f[iface]) {
			names = append(names, f[iface])
		}
	}
	return names
}
