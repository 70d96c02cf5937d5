package v1beta1

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Assigned is an address that Clarion assigned to a Service, and the pool that it came from.
//
// +kubebuilder:object:generate=false
type Assigned struct {
	Address netip.Addr
	Pool    string
}

// maxAssigned is how many addresses a mark may name: more than any Service has.
const maxAssigned = 8

// FormatAssigned makes the value of the annotation assigned-from-pool: the mark that Clarion sets on the
// addresses that it assigns. It names the addresses, so that an address that another writer puts in their
// place is not taken for ours: "lan=192.0.2.10,lan=2001:db8::10".
func FormatAssigned(list []Assigned) string {
	entries := make([]string, len(list))
	for i, a := range list {
		entries[i] = a.Pool + "=" + a.Address.String()
	}
	return strings.Join(entries, ",")
}

// Mark is the annotation assigned-from-pool, read. The zero Mark marks nothing.
//
// +kubebuilder:object:generate=false
type Mark struct {
	entries []Assigned // without addresses where the mark names pools alone
}

// ParseMark reads the value of the annotation assigned-from-pool. Beside the form that FormatAssigned makes
// it reads the one that Clarion wrote before that: the pool of each address in their order, or a single
// name when all come from one.
func ParseMark(value string) (Mark, error) {
	const expected = "Clarion writes pool=address for each address, such as lan=192.0.2.10,lan=2001:db8::10"
	if value == "" {
		return Mark{}, nil
	}
	parts := strings.SplitN(value, ",", maxAssigned+1)
	if len(parts) > maxAssigned {
		return Mark{}, fmt.Errorf("%s names more than %d addresses: %s", quote(value), maxAssigned, expected)
	}
	var m Mark
	named := strings.Contains(value, "=")
	for _, part := range parts {
		pool, address, ok := strings.Cut(part, "=")
		if pool == "" || ok != named {
			return Mark{}, fmt.Errorf("%s has the entry %s: %s", quote(value), quote(part), expected)
		}
		entry := Assigned{Pool: pool}
		if named {
			var err error
			if entry.Address, err = parseAddress(address); err != nil {
				return Mark{}, fmt.Errorf("%s: %w; %s", quote(value), err, expected)
			}
			if slices.ContainsFunc(m.entries, func(a Assigned) bool { return a.Address == entry.Address }) {
				return Mark{}, fmt.Errorf("%s names %s twice: %s", quote(value), entry.Address, expected)
			}
		}
		m.entries = append(m.entries, entry)
	}
	return m, nil
}

// NamesAddresses reports whether the mark says which addresses it marks. One that names pools alone marks
// whatever addresses there are, as long as their number fits.
func (m Mark) NamesAddresses() bool { return len(m.entries) > 0 && m.entries[0].Address.IsValid() }

// Ours returns which of a Service's addresses bear the mark, with their pools, in the order of the addresses.
// addresses are all that the Service's status shows.
func (m Mark) Ours(addresses []netip.Addr) (out []Assigned) {
	for i, address := range addresses {
		switch {
		case m.NamesAddresses():
			at := slices.IndexFunc(m.entries, func(a Assigned) bool { return a.Address == address })
			if at >= 0 {
				out = append(out, m.entries[at])
			}
		case len(m.entries) == 1:
			out = append(out, Assigned{Address: address, Pool: m.entries[0].Pool})
		case len(m.entries) == len(addresses):
			out = append(out, Assigned{Address: address, Pool: m.entries[i].Pool})
		}
	}
	return out
}

// MarkOf returns the mark that a Service bears. A mark without our condition beside it, or that can't be read,
// is not ours to believe and marks nothing.
func MarkOf(annotations map[string]string, conditions []metav1.Condition) Mark {
	if meta.FindStatusCondition(conditions, string(ConditionAddressAssigned)) == nil {
		return Mark{}
	}
	m, err := ParseMark(annotations[AnnotationAssignedFromPool])
	if err != nil {
		return Mark{}
	}
	return m
}

// OurAddresses returns which of the addresses in a Service's status are ours, by the mark that Clarion wrote
// beside them, with the pools that they come from.
func OurAddresses(annotations map[string]string, conditions []metav1.Condition, addresses []netip.Addr) []Assigned {
	return MarkOf(annotations, conditions).Ours(addresses)
}
