package layer2

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"
	"time"
)

// A port is the sockets of one segment: what a [responder] needs of the world.
type port interface {
	// Listen lets requests for the addresses in asked through from now on, what others say of those in claimed, and
	// nothing else but for what the kernel's filter has no room to tell apart.
	Listen(asked, claimed []netip.Addr) error
	// Join joins the multicast group, so that switches and the interface
	// itself deliver what is sent to it, and Leave leaves it. A Join that failed
	// has joined nothing.
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
	// Serve hands each frame that arrives to s.handle, with the time at which the kernel took it from
	// the interface, sends what handle appends to the empty slice it is given, if
	// anything, and tells s.sent what came of it. It calls s.turned whenever it comes round,
	// which Nudge makes it do. Serve returns an error when the interface is gone or down, and nil after
	// Close.
	Serve(s server) error
	// Nudge wakes Serve up.
	Nudge()
	// Send sends one frame.
	Send(frame []byte) error
	// Overflowed returns how many frames were lost since it was asked last,
	// because the socket's queue was full.
	Overflowed() uint64
	// Close ends Serve and frees everything.
	Close() error
}

// A server is who gets the frames of a port.
type server interface {
	handle(frame []byte, at time.Time, reply []byte) []byte
	sent(error)
	turned()
}

// An openFunc opens the port of a family on a link.
type openFunc func(link Link, family Family) (port, error)

// A verdict is what to do about an error of a port.
type verdict int

const (
	giveUp      verdict = iota // nothing will change while this process lives
	awaitLink                  // the link is down
	awaitDevice                // the link is gone
	tryAgain
)

// errUnsupported is returned where there are no packet sockets.
var errUnsupported = errors.New("packet sockets are not implemented on this platform")

// judge says what an error of a port means. It is the one place that does.
func judge(err error) verdict {
	switch {
	case errors.Is(err, errUnsupported), errors.Is(err, fs.ErrPermission):
		return giveUp
	case errors.Is(err, syscall.ENETDOWN):
		return awaitLink
	case errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return awaitDevice
	default:
		return tryAgain
	}
}

// explain says what to do where the kernel only says no.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the process needs CAP_NET_RAW, effective: %w", err)
	}
	return err
}
