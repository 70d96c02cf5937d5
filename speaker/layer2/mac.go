package layer2

import (
	"fmt"
	"net"
)

// A MAC is the 48-bit hardware address of an Ethernet interface. It is
// comparable, and its zero value means "none".
type MAC [6]byte

// ParseMAC reads the usual form, aa:bb:cc:dd:ee:ff.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("parsing hardware address: %w", err)
	}
	m, ok := macFromSlice(hw)
	if !ok {
		return MAC{}, fmt.Errorf("parsing hardware address %q: it has %d bytes, expected 6", s, len(hw))
	}
	return m, nil
}

// macFromSlice converts from the form that other libraries use.
func macFromSlice(b []byte) (MAC, bool) {
	if len(b) != len(MAC{}) {
		return MAC{}, false
	}
	return MAC(b), true
}

// String returns the usual form, aa:bb:cc:dd:ee:ff.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// IsZero reports whether m is the zero value, "none".
func (m MAC) IsZero() bool { return m == MAC{} }

// IsUnicast reports whether m names one station: neither a group (broadcast
// among them) nor none.
func (m MAC) IsUnicast() bool { return m[0]&1 == 0 && !m.IsZero() }

// AppendText implements [encoding.TextAppender].
func (m MAC) AppendText(b []byte) ([]byte, error) { return append(b, m.String()...), nil }

// MarshalText implements [encoding.TextMarshaler].
func (m MAC) MarshalText() ([]byte, error) { return m.AppendText(nil) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *MAC) UnmarshalText(b []byte) error {
	p, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = p
	return nil
}
