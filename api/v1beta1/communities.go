package v1beta1

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CommunityValue is a community as it goes into a route: a standard one has two parts of 16 bits
// (RFC 1997), a large one three of 32 bits (RFC 8092).
//
// +kubebuilder:object:generate=false
type CommunityValue struct {
	Large bool
	// Parts in their order; the third is 0 in a standard community.
	Parts [3]uint32
}

// String writes the community as ParseCommunity reads it.
func (c CommunityValue) String() string {
	if c.Large {
		return fmt.Sprintf("large:%d:%d:%d", c.Parts[0], c.Parts[1], c.Parts[2])
	}
	return fmt.Sprintf("%d:%d", c.Parts[0], c.Parts[1])
}

func wellKnown(low uint32) CommunityValue {
	return CommunityValue{Parts: [3]uint32{0xffff, low}}
}

// WellKnownCommunities are the names that need no Community, from IANA's registry of well-known
// communities.
var WellKnownCommunities = map[string]CommunityValue{
	"graceful-shutdown":   wellKnown(0x0000), // RFC 8326
	"accept-own":          wellKnown(0x0001), // RFC 7611
	"llgr-stale":          wellKnown(0x0006), // RFC 9494
	"no-llgr":             wellKnown(0x0007), // RFC 9494
	"blackhole":           wellKnown(0x029a), // RFC 7999
	"no-export":           wellKnown(0xff01), // RFC 1997
	"no-advertise":        wellKnown(0xff02), // RFC 1997
	"no-export-subconfed": wellKnown(0xff03), // RFC 1997
	"no-peer":             wellKnown(0xff04), // RFC 3765
}

// ErrUnknownCommunity is in the errors of names that neither are well known nor given by a Community.
var ErrUnknownCommunity = errors.New("no Community gives this name")

// ParseCommunity reads a community, or the name of one; aliases are what the Communities give and may be
// nil. A well-known name keeps its meaning whatever they give.
func ParseCommunity(text string, aliases map[string]CommunityValue) (CommunityValue, error) {
	if strings.Contains(text, ":") {
		return ParseCommunityValue(text)
	}
	if value, ok := WellKnownCommunities[text]; ok {
		return value, nil
	}
	if value, ok := aliases[text]; ok {
		return value, nil
	}
	return CommunityValue{}, fmt.Errorf("%s: %w: write one that does, or a community such as 64512:100", quote(text), ErrUnknownCommunity)
}

// ParseCommunityValue reads a community in numbers, as a Community's value must be.
func ParseCommunityValue(text string) (CommunityValue, error) {
	if rest, large := strings.CutPrefix(text, "large:"); large {
		return parseParts(text, rest, CommunityValue{Large: true}, 3, 32)
	}
	return parseParts(text, text, CommunityValue{}, 2, 16)
}

func parseParts(text, parts string, value CommunityValue, count, bits int) (CommunityValue, error) {
	split := strings.Split(parts, ":")
	bad := len(split) != count
	for i := 0; i < count && !bad; i++ {
		n, err := strconv.ParseUint(split[i], 10, bits)
		// Only one way to write each, so that equal communities look equal.
		bad = err != nil || strconv.FormatUint(n, 10) != split[i]
		value.Parts[i] = uint32(n)
	}
	if bad {
		return CommunityValue{}, fmt.Errorf("%s is no community: write two numbers from 0 to 65535 such as 64512:100, or three from 0 to 4294967295 such as large:64512:1:2", quote(text))
	}
	return value, nil
}
