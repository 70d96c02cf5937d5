package v1beta1_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func addresses(list string) (out []netip.Addr) {
	for _, s := range strings.Fields(list) {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestOurAddresses(t *testing.T) {
	ours := []metav1.Condition{{Type: string(v1beta1.ConditionAddressAssigned), Status: metav1.ConditionFalse}}
	for _, row := range []struct {
		name       string
		value      string
		conditions []metav1.Condition
		shows      string
		want       string // as FormatAssigned writes it
	}{
		{name: "an address that is named is ours", value: "lan=192.0.2.1", conditions: ours, shows: "192.0.2.1", want: "lan=192.0.2.1"},
		{name: "two addresses of two pools, in the order of the status", value: "v4=192.0.2.1,v6=2001:db8::1", conditions: ours,
			shows: "2001:db8::1 192.0.2.1", want: "v6=2001:db8::1,v4=192.0.2.1"},
		{name: "an address that another wrote in place of ours is not", value: "lan=192.0.2.1", conditions: ours, shows: "192.0.2.99"},
		{name: "an address that another wrote beside ours is not", value: "lan=192.0.2.1", conditions: ours,
			shows: "192.0.2.1 192.0.2.99", want: "lan=192.0.2.1"},
		{name: "no mark", conditions: ours, shows: "192.0.2.1"},
		{name: "a mark without our condition is somebody else's", value: "lan=192.0.2.1", shows: "192.0.2.1"},
		{name: "a mark beside another's condition", value: "lan=192.0.2.1", conditions: []metav1.Condition{{Type: "Ready"}}, shows: "192.0.2.1"},
		{name: "a mark without an address", value: "lan=192.0.2.1", conditions: ours},
		{name: "a mark of which a part can't be read", value: "lan=192.0.2.1,six", conditions: ours, shows: "192.0.2.1"},
		{name: "the older form: one address", value: "lan", conditions: ours, shows: "192.0.2.1", want: "lan=192.0.2.1"},
		{name: "the older form: two addresses of one pool", value: "lan", conditions: ours,
			shows: "192.0.2.1 2001:db8::1", want: "lan=192.0.2.1,lan=2001:db8::1"},
		{name: "the older form: two addresses of two pools", value: "v4,v6", conditions: ours,
			shows: "192.0.2.1 2001:db8::1", want: "v4=192.0.2.1,v6=2001:db8::1"},
		{name: "the older form: two pools for one address", value: "v4,v6", conditions: ours, shows: "192.0.2.1"},
		{name: "the older form: a pool without a name", value: "v4,", conditions: ours, shows: "192.0.2.1 2001:db8::1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			annotations := map[string]string{v1beta1.AnnotationAssignedFromPool: row.value}
			if got := v1beta1.FormatAssigned(v1beta1.OurAddresses(annotations, row.conditions, addresses(row.shows))); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestMarksThatCantBeRead(t *testing.T) {
	for value, want := range map[string]string{
		"lan=":                        `"" is no IP address`,
		"=192.0.2.1":                  `the entry "=192.0.2.1"`,
		"lan=192.0.2.1,six":           `the entry "six"`,
		"lan=192.0.2.1,lan=192.0.2.1": "names 192.0.2.1 twice",
		"lan=fe80::1%eth0":            "has a zone",
		"a,b,c,d,e,f,g,h,i":           "more than 8",
	} {
		_, err := v1beta1.ParseMark(value)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pool=address") {
			t.Errorf("%q: %v, want it to name %s and what is expected", value, err, want)
		}
	}
}

func FuzzMark(f *testing.F) {
	f.Add("lan=192.0.2.1", "192.0.2.1", "2001:db8::1")
	f.Add("v4=192.0.2.1,v6=2001:db8::1", "2001:db8::1", "192.0.2.1")
	f.Add("v4,v6", "192.0.2.1", "2001:db8::1")
	f.Add(",", "", "")
	f.Fuzz(func(t *testing.T, value, first, second string) {
		m, err := v1beta1.ParseMark(value)
		if err != nil {
			return
		}
		var shows []netip.Addr
		for _, s := range []string{first, second} {
			if a, err := netip.ParseAddr(s); err == nil {
				shows = append(shows, a.Unmap())
			}
		}
		got := m.Ours(shows)
		for _, a := range got {
			if a.Pool == "" || !slices.Contains(shows, a.Address) {
				t.Errorf("%q says that %v is ours, of %v", value, a, shows)
			}
		}
		if m.NamesAddresses() {
			// Written anew it says the same.
			if again, err := v1beta1.ParseMark(v1beta1.FormatAssigned(got)); err != nil && len(got) > 0 && shows[0] != shows[len(shows)-1] || !slices.Equal(again.Ours(shows), got) {
				t.Errorf("%q of %v became %v, %v", value, shows, got, err)
			}
		}
	})
}
