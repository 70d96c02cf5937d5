package lab

import (
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name    string
		options Options
		want    string // part of the refusal; empty when it is accepted
	}{
		{"nothing said is three nodes", Options{}, ""},
		{"as many nodes as there are places", Options{Nodes: MaxNodes}, ""},
		{"more nodes than places are refused", Options{Nodes: MaxNodes + 1}, "want 1 to 100"},
		{"a negative number of nodes is refused", Options{Nodes: -1}, "want 1 to 100"},
		{"a name with a slash would leave the labs' directory", Options{Name: "../x"}, "lab name"},
		{"a name with capitals is refused", Options{Name: "Lab"}, "lab name"},
		{"a long name would not fit into a socket's path", Options{Name: strings.Repeat("a", 25)}, "lab name"},
		{"iptables is a proxy mode", Options{ProxyMode: "iptables"}, ""},
		{"a lab can do without kube-proxy", Options{ProxyMode: "none"}, ""},
		{"ipvs is no mode of this lab", Options{ProxyMode: "ipvs"}, "want nftables, iptables or none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, err := test.options.withDefaults()
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Fatalf("got %v, want an error with %q", err, test.want)
			case err == nil && (o.Name == "" || o.Nodes == 0 || o.ProxyMode == ""):
				t.Errorf("something is left open: %+v", o)
			}
		})
	}
}
