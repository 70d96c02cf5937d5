package child

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

const headerLength = 19

// shortest is how long messages of each type are at least (RFC 4271 section 4, RFC 2918).
var shortest = map[uint8]int{
	codec.BGP_MSG_OPEN:          29,
	codec.BGP_MSG_UPDATE:        23,
	codec.BGP_MSG_NOTIFICATION:  21,
	codec.BGP_MSG_KEEPALIVE:     19,
	codec.BGP_MSG_ROUTE_REFRESH: 23,
}

// frame is a message as it came, without its header.
type frame struct {
	kind uint8
	body []byte
}

// readFrame reads a message. What can't be one is a refusal; everything else that fails is an error.
func readFrame(r io.Reader, buffer *[maxMessage]byte) (f frame, no *refusal, err error) {
	header := buffer[:headerLength]
	if _, err := io.ReadFull(r, header); err != nil {
		return f, nil, err
	}
	bad := func(subcode uint8, data []byte, format string, args ...any) (frame, *refusal, error) {
		return f, &refusal{codec.BGP_ERROR_MESSAGE_HEADER_ERROR, subcode, data, bgp.InvalidMessage, "the router sent something that is not BGP: " + fmt.Sprintf(format, args...)}, nil
	}
	for _, b := range header[:16] {
		if b != 0xff {
			return bad(codec.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, nil, "a message without its marker")
		}
	}
	length, kind := int(binary.BigEndian.Uint16(header[16:])), header[18]
	least, known := shortest[kind]
	switch {
	case !known:
		return bad(codec.BGP_ERROR_SUB_BAD_MESSAGE_TYPE, []byte{kind}, "a message of type %d", kind)
	case length < least || length > maxMessage || kind == codec.BGP_MSG_KEEPALIVE && length != least:
		return bad(codec.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, header[16:18:18], "a message of type %d and %d bytes", kind, length)
	}
	body := buffer[headerLength:length]
	_, err = io.ReadFull(r, body)
	return frame{kind, body}, nil, err
}

// incoming is what a session hears of its router.
type incoming struct {
	// messages are those that matter; UPDATEs and KEEPALIVEs of an established session are not among them.
	messages chan message
	// heard is when the last message came, as nanoseconds since the clock's beginning.
	heard atomic.Int64
	// updates counts UPDATEs.
	updates atomic.Uint64
}

// message is a frame of its own, or why there are no more.
type message struct {
	frame
	no  *refusal
	err error
}

// read passes on what comes until the connection ends or somebody stops listening. It never waits for the session to
// have written something, or two that both write would wait for each other.
func (in *incoming) read(r io.Reader, begin time.Time, stop <-chan struct{}) {
	defer close(in.messages)
	var buffer [maxMessage]byte
	opened, alive := false, false
	for {
		f, no, err := readFrame(r, &buffer)
		in.heard.Store(int64(time.Since(begin)))
		if err == nil && no == nil {
			switch {
			case f.kind == codec.BGP_MSG_UPDATE && alive:
				in.updates.Add(1)
				continue // read, counted, forgotten: we take no routes
			case f.kind == codec.BGP_MSG_KEEPALIVE && alive:
				continue
			}
			alive = alive || opened && f.kind == codec.BGP_MSG_KEEPALIVE
			opened = opened || f.kind == codec.BGP_MSG_OPEN
			f.body = append([]byte(nil), f.body...)
		}
		select {
		case in.messages <- message{f, no, err}:
		case <-stop:
			return
		}
		if err != nil || no != nil {
			return
		}
	}
}
