package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

const (
	// receiveBuffer is asked for so that a burst of requests fits; the kernel
	// grants no more than net.core.rmem_max without CAP_NET_ADMIN.
	receiveBuffer = 1 << 20
	// sendPriority is the highest one that needs no capability. It lets answers
	// overtake bulk traffic in the interface's queue.
	sendPriority = 6
	// serveBurst is how many frames are served between looks at whether to stop.
	serveBurst = 64
	// The filter may have maxSpans spans; where the kernel has no room for
	// the program, half as many are tried, and so on down to minSpans.
	maxSpans = 128
	minSpans = 8
)

var etherTypes = [families]int{IPv4: etherTypeARP, IPv6: etherTypeIPv6}

// A linuxPort is a packet socket (AF_PACKET) and the sockets that hold its
// multicast groups. Nothing in it needs more than CAP_NET_RAW.
type linuxPort struct {
	family Family
	conn   *packet.Conn
	raw    syscall.RawConn
	groups *groups
	// What the filter passes.
	asked, claimed []span
	limit          int // how many spans the kernel has room for, as far as we know
}

var _ port = (*linuxPort)(nil)

func openPort(link Link, family Family) (port, error) {
	// Nothing passes until Listen says what.
	closed, err := bpf.Assemble(requestFilter(family, nil, nil))
	if err != nil {
		return nil, fmt.Errorf("assembling filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: link.Index, Name: link.Name}, packet.Raw, etherTypes[family],
		&packet.Config{Filter: closed})
	if err != nil {
		return nil, explain(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	_ = raw.Control(func(fd uintptr) {
		if err = stamped(int(fd)); err != nil {
			return
		}
		// Both make things better and neither is needed.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority)
	})
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("setsockopt SO_TIMESTAMPNS", err), conn.Close())
	}
	return &linuxPort{family: family, conn: conn, raw: raw, groups: newGroups(link.Index), limit: maxSpans}, nil
}

func (p *linuxPort) Listen(asked, claimed []netip.Addr) error {
	for {
		a, c := cover(asked, p.limit), cover(claimed, p.limit)
		if slices.Equal(a, p.asked) && slices.Equal(c, p.claimed) {
			return nil
		}
		program, err := bpf.Assemble(requestFilter(p.family, a, c))
		if err != nil {
			return fmt.Errorf("assembling filter: %w", err)
		}
		err = p.conn.SetBPF(program)
		if err == nil {
			p.asked, p.claimed = a, c
		}
		// Programs are charged to net.core.optmem_max, the old one with the new.
		if !errors.Is(err, unix.ENOMEM) || p.limit <= minSpans {
			return err
		}
		p.limit /= 2
	}
}

func (p *linuxPort) Join(group netip.Addr) error  { return p.groups.join(group) }
func (p *linuxPort) Leave(group netip.Addr) error { return p.groups.leave(group) }

func (p *linuxPort) Serve(s server) error {
	var (
		frame   = make([]byte, maxFrame)
		control = make([]byte, controlLen)
		reply   = make([]byte, 0, maxFrame)
		fatal   error
	)
	// The function that Read is given is called when the socket is readable; it
	// returns false to wait for that again, and true now and then so that Close
	// is heard in a storm.
	burst := func(fd uintptr) bool {
		for range serveBurst {
			n, at, err := receive(int(fd), frame, control)
			switch {
			case err == nil:
			case errors.Is(err, unix.EAGAIN):
				return false
			case errors.Is(err, unix.EINTR):
				continue
			default:
				fatal = os.NewSyscallError("recvmsg", err)
				return true
			}
			if answer := s.handle(frame[:n], at, reply); len(answer) > 0 {
				s.sent(nowait.Send(fd, answer))
			}
		}
		return true
	}
	for fatal == nil {
		err := p.raw.Read(burst)
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// A nudge. One that comes before the deadline is lifted is this one.
			if err := p.conn.SetReadDeadline(time.Time{}); err != nil {
				return nil // closed
			}
		default:
			return err
		}
		s.turned()
	}
	return fatal
}

func (p *linuxPort) Nudge() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) }

func (p *linuxPort) Send(frame []byte) error {
	var err error
	if cerr := p.raw.Control(func(fd uintptr) { err = nowait.Send(fd, frame) }); cerr != nil {
		return cerr
	}
	return err
}

func (p *linuxPort) Overflowed() uint64 {
	stats, err := p.conn.Stats()
	if err != nil {
		return 0
	}
	return uint64(stats.Drops)
}

func (p *linuxPort) Close() error {
	return errors.Join(p.conn.Close(), p.groups.close())
}
