package lab

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
)

// Status is how a host fares, in words.
type Status struct {
	Name      string
	Power     string // "on" or "off"
	Link      string // "up", "cut" or "silenced"; empty without a cable
	IPv4      string
	IPv6      string
	MAC       string
	Processes string // "kubelet, kube-proxy (exit status 1, 3 restarts)"
}

// Status tells how the host fares.
func (h *Host) Status(ctx context.Context) Status {
	s := Status{Name: h.Name, Power: "off"}
	spec, err := h.spec()
	if err != nil {
		return s
	}
	if len(spec.Interfaces) > 0 {
		s.IPv4, s.IPv6, s.MAC = h.IPv4().String(), h.IPv6().String(), spec.Interfaces[0].MAC
	}
	if !h.Machine().Alive() {
		return s
	}
	s.Power = "on"
	s.Link = h.link()
	processes, err := h.Machine().Processes(ctx)
	if err != nil {
		s.Processes = err.Error()
		return s
	}
	var words []string
	for _, p := range processes {
		word := p.Name
		var remarks []string
		if p.PID == 0 {
			remarks = append(remarks, "ended: "+p.Exit)
		}
		if p.Restarts > 0 {
			remarks = append(remarks, fmt.Sprintf("%d restarts", p.Restarts))
		}
		if len(remarks) > 0 {
			word += " (" + strings.Join(remarks, ", ") + ")"
		}
		words = append(words, word)
	}
	s.Processes = strings.Join(words, ", ")
	return s
}

// link tells how the host's cables are; the worst one counts.
func (h *Host) link() string {
	state := ""
	err := h.eachPort(func(_ *netlink.Handle, port netlink.Link) error {
		switch attrs := port.Attrs(); {
		case attrs.Flags&net.FlagUp == 0:
			state = "cut"
		case attrs.MasterIndex == 0 && state != "cut":
			state = "silenced"
		case state == "":
			state = "up"
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return state
}
