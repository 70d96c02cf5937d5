package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
)

// The kernel drops what is not for us before it costs a wake-up: each socket has
// a classic BPF program that passes requests whose target lies in a set of
// spans. The spans are exact while there are few of them; then the ones with
// the smallest gaps between them melt together, and what falls into a gap
// is dropped by the answer table instead. A program's length, which is bounded
// by net.core.optmem_max, so never depends on how many addresses there are.

// A span is a set of consecutive filter keys, both ends included.
type span struct{ lo, hi uint32 }

// filterKey is what the filter looks at: an IPv4 address, or the low 32 bits of
// an IPv6 address. (Hosts of other prefixes with the same low bits pass the
// filter; they are few, and their multicast group is the same anyway.)
func filterKey(a netip.Addr) uint32 {
	b := a.As16()
	return binary.BigEndian.Uint32(b[12:])
}

// cover returns at most limit spans, in order, that contain the keys of all
// addresses, and as little else as possible. Addresses are in any order.
func cover(addresses []netip.Addr, limit int) []span {
	keys := make([]uint32, len(addresses))
	for i, a := range addresses {
		keys[i] = filterKey(a)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) == 0 {
		return nil
	}

	// The gaps worth keeping: the limit-1 widest. gap i lies before keys[i].
	var gaps []int
	for i := 1; i < len(keys); i++ {
		if keys[i] != keys[i-1]+1 {
			gaps = append(gaps, i)
		}
	}
	if len(gaps) >= limit {
		// By width, and among equals the last ones first: as numbers, for there may be thousands.
		widths := make([]uint64, len(gaps))
		for n, i := range gaps {
			widths[n] = uint64(keys[i]-keys[i-1])<<32 | uint64(^uint32(i))
		}
		slices.Sort(widths)
		gaps = gaps[:0]
		for _, w := range widths[len(widths)-(limit-1):] {
			gaps = append(gaps, int(^uint32(w)))
		}
		slices.Sort(gaps)
	}

	spans := make([]span, 0, len(gaps)+1)
	lo := keys[0]
	for _, i := range gaps {
		spans = append(spans, span{lo, keys[i-1]})
		lo = keys[i]
	}
	return append(spans, span{lo, keys[len(keys)-1]})
}

// Values of the packet type in the kernel's linux/if_packet.h. Up to
// packetMulticast a frame is for this host or for a group; above, it is for
// another host or was sent by this one.
const packetMulticast = 2

// requestFilter returns the program that passes requests for addresses in asked, and what others say of those in claimed.
// Without either it passes nothing.
func requestFilter(f Family, asked, claimed []span) []bpf.Instruction {
	if len(asked)+len(claimed) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: 0}}
	}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: packetMulticast, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	require := func(offset uint32, size int, values ...uint32) {
		program = append(program, bpf.LoadAbsolute{Off: offset, Size: size})
		for i, value := range values {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: value, SkipTrue: uint8(len(values) - i)})
		}
		program = append(program, bpf.RetConstant{Val: 0})
	}
	refuse := bpf.RetConstant{Val: 0}
	switch f {
	case IPv4:
		require(arpHardwareType, 4, hardwareTypeEthernet<<16|etherTypeIPv4)
		require(arpLengths, 2, ethernetIPv4Lengths)
		// Whoever says to have one of the addresses, by whatever operation.
		program = append(program, contains(arpSenderAddress, claimed, nil)...)
		// Or else a request for one; not one that is a statement.
		require(arpOperation, 2, 1)
		program = append(program,
			bpf.LoadAbsolute{Off: arpSenderAddress, Size: 4},
			bpf.TAX{},
			bpf.LoadAbsolute{Off: arpTargetAddress, Size: 4},
			bpf.JumpIfX{Cond: bpf.JumpNotEqual, SkipTrue: 1},
			refuse)
		return append(program, contains(arpTargetAddress, asked, refuse)...)
	default:
		require(ipv6NextHeader, 2, protocolICMPv6<<8|255)
		says := contains(nsTarget+12, claimed, refuse)
		program = append(program,
			bpf.LoadAbsolute{Off: icmpv6Type, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 136 << 8, SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(says))})
		program = append(program, says...)
		require(icmpv6Type, 2, 135<<8)
		return append(program, contains(nsTarget+12, asked, refuse)...)
	}
}

// contains returns a program that passes a frame when the filter key at offset is in one of the spans. If not, it
// ends with miss, or goes on with what comes after it if miss is nil.
func contains(offset uint32, spans []span, miss bpf.Instruction) []bpf.Instruction {
	if len(spans) == 0 && miss == nil {
		return nil
	}
	if len(spans) == 0 {
		return []bpf.Instruction{miss}
	}
	// Below the first span nothing passes; search relies on it.
	program := append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[0].lo, SkipTrue: 1},
		missed{},
	}, search(spans)...)
	for i, in := range program {
		if in != (missed{}) {
			continue
		}
		program[i] = miss
		if miss == nil {
			program[i] = bpf.Jump{Skip: uint32(len(program) - 1 - i)}
		}
	}
	return program
}

// missed stands for what comes when the accumulator is in no span.
type missed struct{ bpf.Instruction }

// search returns a program that passes a frame when the accumulator, known to be at
// least spans[0].lo, is in one of the spans: a binary search for the last span that
// begins at or below it, and one comparison with that span's end.
func search(spans []span) []bpf.Instruction {
	if len(spans) == 1 {
		return []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: spans[0].hi, SkipTrue: 1},
			bpf.RetConstant{Val: maxFrame},
			missed{},
		}
	}
	middle := len(spans) / 2
	low, high := search(spans[:middle]), search(spans[middle:])
	branch := []bpf.Instruction{
		// A conditional jump reaches 255 instructions, an unconditional one any.
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: spans[middle].lo, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(low))},
	}
	if len(low) <= 255 {
		branch = []bpf.Instruction{
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: spans[middle].lo, SkipTrue: uint8(len(low))},
		}
	}
	return slices.Concat(branch, low, high)
}
