package bfd

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/clarion-lb/clarion/speaker/bfd/packet"
	"github.com/clarion-lb/clarion/speaker/bfd/session"
)

// wrongTTL refuses a packet that came from further away than it may
// (RFC 5881 section 5, RFC 5883 section 5).
const wrongTTL packet.Refusal = "the TTL is too low"

// circumstances are what a reason is made of.
type circumstances struct {
	path    Path
	now     session.Status
	wasUp   bool // since there is the session
	problem error
	heard   bool
	// refusal is the last one, if nothing was taken since.
	refusal packet.Refusal
	ttl     int // that came with it
	minTTL  int
	passive bool
	detect  time.Duration // detection time that expired
}

// reason says in a sentence why a session is not Up, for somebody who can do
// something about it.
func (c circumstances) reason() string {
	status := c.now
	switch {
	case status.State == packet.Up:
		return ""
	case status.State == packet.AdminDown:
		return "the session is administratively down on this node"
	case status.State == packet.Down && status.Diagnostic == packet.EchoFunctionFailed:
		return fmt.Sprintf("the router no longer returns echo packets (%v)", status.Diagnostic)
	case c.problem != nil && !c.wasUp:
		return c.problem.Error()
	case c.refusal == wrongTTL:
		return fmt.Sprintf("the router's BFD packets come with TTL %d, less than %d: it is further away than the session allows", c.ttl, c.minTTL)
	case c.refusal != "" && c.refusal != session.UnknownDiscriminator:
		return fmt.Sprintf("the router's BFD packets are refused: %s", c.refusal)
	case status.RemoteAdminDown:
		return "the router has taken the session down administratively (AdminDown)"
	case status.RemoteEnded:
		return "the router has ended its session, and has not seen the path fail; it may make a new one"
	case status.State == packet.Init:
		return "the router's packets come, but it does not say that it hears ours"
	case !c.wasUp && !c.heard && c.passive:
		return "no BFD packet has come from the router, and the session is passive"
	case !c.wasUp && !c.heard:
		return "no BFD packet has come from the router"
	}
	why := ""
	switch status.Diagnostic {
	case packet.ControlDetectionTimeExpired:
		why = fmt.Sprintf("no packet from the router for %v (%v)", c.detect, status.Diagnostic)
	case packet.NeighborSignaledSessionDown:
		why = fmt.Sprintf("the router took the session down (%v; its own diagnostic: %v)", status.Diagnostic, status.RemoteDiagnostic)
	default:
		why = "waiting for the router"
	}
	if c.problem != nil {
		why += "; " + c.problem.Error()
	}
	return why
}

// explainOpen says what to do where the kernel only says no.
func explainOpen(path Path, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("the address %s is not on this node", path.Local)
	case errors.Is(err, syscall.ENODEV):
		return fmt.Errorf("there is no interface %s on this node", path.Interface)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("UDP port %d is taken by another program on this node (another BFD daemon?)", path.port())
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("this node has no route to %s", path.Peer)
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("the process needs CAP_NET_RAW, effective: %w", err)
	}
	return err
}

// explainSend does so for a packet that could not be sent, and reports whether
// the sockets are good no more.
func explainSend(path Path, err error) (problem error, broken bool) {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOBUFS):
		return nil, false
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the router says that it does not listen for BFD (ICMP port unreachable)"), false
	case errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("the router %s is not there (nobody answers for its address)", path.Peer), false
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("a packet filter on this node does not let BFD packets out"), false
	case errors.Is(err, syscall.ENETDOWN):
		return fmt.Errorf("the interface is down"), false
	}
	return explainOpen(path, err), true
}
