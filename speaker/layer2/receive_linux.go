package layer2

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/nowait"
)

// stamped has the kernel note when each message that a socket receives came in.
func stamped(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// controlLen has room for the one control message that is asked for.
const controlLen = 64

// receive reads a message, without waiting, into b and returns when the kernel took it
// from the interface. control is room for controlLen bytes.
func receive(fd int, b, control []byte) (n int, at time.Time, err error) {
	n, oobn, err := nowait.Receive(uintptr(fd), b, control)
	if err != nil {
		return 0, time.Time{}, err
	}
	now := time.Now()
	return n, arrival(now, control[:oobn]), nil
}

// arrival reads when a message came in from a control message (SCM_TIMESTAMPNS), or
// returns now if there is none. The kernel tells the time of day; the result has
// a monotonic reading as now has it, and is not after now.
func arrival(now time.Time, control []byte) time.Time {
	const header = unix.SizeofCmsghdr
	const word = int(unsafe.Sizeof(unix.Timespec{}.Sec))
	if len(control) < header+2*word || int32(binary.NativeEndian.Uint32(control[header-8:])) != unix.SOL_SOCKET ||
		int32(binary.NativeEndian.Uint32(control[header-4:])) != unix.SCM_TIMESTAMPNS {
		return now
	}
	read := func(b []byte) int64 {
		if word == 8 {
			return int64(binary.NativeEndian.Uint64(b))
		}
		return int64(int32(binary.NativeEndian.Uint32(b)))
	}
	stamp := time.Unix(read(control[header:]), read(control[header+word:]))
	return now.Add(-max(0, now.Sub(stamp)))
}
