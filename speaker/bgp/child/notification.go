package child

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	codec "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// ceaseBFDDown is the subcode of RFC 9384.
const ceaseBFDDown = 10

// ceaseHardReset is the subcode of RFC 8538, which has another NOTIFICATION in its data; roleMismatch is that of RFC 9234.
const (
	ceaseHardReset = 9
	roleMismatch   = 11
)

// maxShutdownText bounds the text of RFC 9003.
const maxShutdownText = 255

// received tells what a router's NOTIFICATION means. ours is our ASN, before says that the session was not
// established yet, and operator is true where somebody means it and hurry is no use.
func received(code, subcode uint8, data []byte, p *bgp.Peer) (reason bgp.Reason, message string, operator bool) {
	name := codec.NewNotificationErrorCode(code, subcode).String()
	switch code {
	case codec.BGP_ERROR_OPEN_MESSAGE_ERROR:
		switch subcode {
		case codec.BGP_ERROR_SUB_BAD_PEER_AS:
			return bgp.RefusedASN, fmt.Sprintf("the router refuses our ASN %d: another one is configured there", p.ASN), false
		case codec.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER:
			return bgp.RefusedOpen, fmt.Sprintf("the router refuses our router ID %s: it has it itself, or finds it invalid", p.RouterID), false
		case codec.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME:
			return bgp.RefusedOpen, fmt.Sprintf("the router refuses a hold time of %s", p.HoldTime), false
		case codec.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER:
			return bgp.RefusedOpen, "the router refuses BGP version 4, the only one that is spoken here", false
		case roleMismatch:
			return bgp.RefusedOpen, "the router wants us to name our BGP role (RFC 9234), which is not done here: take strict mode off its local-role", false
		case codec.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY:
			return bgp.RefusedOpen, "the router misses a capability of ours: compare the families of both sides", false
		}
		return bgp.RefusedOpen, "the router refuses our OPEN: " + name, false
	case codec.BGP_ERROR_HOLD_TIMER_EXPIRED:
		return bgp.HoldTimeExpiredAtPeer, "the router heard nothing of us for the hold time: packets get lost, or this node is starved", false
	case codec.BGP_ERROR_CEASE:
		if subcode == ceaseHardReset && len(data) >= 2 {
			return received(data[0], data[1], data[2:], p)
		}
		return ceased(subcode, data, name)
	case codec.BGP_ERROR_MESSAGE_HEADER_ERROR, codec.BGP_ERROR_UPDATE_MESSAGE_ERROR, codec.BGP_ERROR_FSM_ERROR, codec.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR:
		return bgp.PeerError, "the router complains of what we sent: " + name, false
	}
	return bgp.PeerError, fmt.Sprintf("the router ended the session with NOTIFICATION %d/%d, which nobody knows", code, subcode), false
}

// ceased reads the Cease subcodes of RFC 4486 and RFC 9384.
func ceased(subcode uint8, data []byte, name string) (bgp.Reason, string, bool) {
	text := shutdownText(data)
	if text != "" {
		text = ", saying: " + text
	}
	switch subcode {
	case codec.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED:
		return bgp.TooManyRoutes, "the router accepts fewer routes than we have for it (its maximum-prefix)", true
	case codec.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN:
		return bgp.PeerShutdown, "the session was shut down at the router" + text, true
	case codec.BGP_ERROR_SUB_PEER_DECONFIGURED:
		return bgp.PeerDeconfigured, "the router does not have this node among its neighbors any more", true
	case codec.BGP_ERROR_SUB_ADMINISTRATIVE_RESET:
		return bgp.PeerReset, "the session was reset at the router" + text, false
	case codec.BGP_ERROR_SUB_CONNECTION_REJECTED:
		return bgp.ConnectionRejected, "the router rejects the connection: this node is not among its neighbors, or is shut down there", true
	case codec.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE:
		return bgp.PeerConfigurationChanged, "the router's configuration changed", false
	case codec.BGP_ERROR_SUB_CONNECTION_COLLISION_RESOLUTION:
		return bgp.CollisionResolved, "the router has another connection with this node", false
	case codec.BGP_ERROR_SUB_OUT_OF_RESOURCES:
		return bgp.PeerOutOfResources, "the router is out of resources", true
	case ceaseBFDDown:
		return bgp.PeerBFDDown, "the router's BFD lost this node", false
	}
	return bgp.PeerCeased, "the router ended the session: " + name, true
}

// shutdownText is the operator's text in a Cease (RFC 9003), with nothing in it that would not print.
func shutdownText(data []byte) string {
	if len(data) == 0 || int(data[0]) > len(data)-1 {
		return ""
	}
	text := data[1 : 1+int(data[0])]
	if !utf8.Valid(text) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, string(text))
}

// notification is a NOTIFICATION of ours.
func notification(code, subcode uint8, data []byte) []byte {
	b, err := codec.NewBGPNotificationMessage(code, subcode, data).Serialize()
	if err != nil {
		panic(err) // it is two numbers and some bytes
	}
	return b
}

// shutdown is a Cease with a text.
func shutdown(subcode uint8, text string) []byte {
	text = strings.ToValidUTF8(text, "")
	for len(text) > maxShutdownText {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return notification(codec.BGP_ERROR_CEASE, subcode, append([]byte{byte(len(text))}, text...))
}
