package v1beta1_test

import (
	"regexp"
	"strings"
	"testing"

	apilabels "k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

type labels = map[string]string

func withLabel(key string, value v1beta1.LabelValue) v1beta1.LabelSelector {
	return v1beta1.LabelSelector{MatchLabels: map[string]v1beta1.LabelValue{key: value}}
}

func where(key string, operator v1beta1.LabelSelectorOperator, values ...v1beta1.LabelValue) v1beta1.LabelSelector {
	return v1beta1.LabelSelector{MatchExpressions: []v1beta1.LabelSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
}

func TestLabelSelector(t *testing.T) {
	both := withLabel("rack", "a")
	both.MatchExpressions = where("zone", v1beta1.SelectorExists).MatchExpressions
	for _, row := range []struct {
		name     string
		selector v1beta1.LabelSelector
		labels   labels
		want     bool
	}{
		{"an empty selector selects everything", v1beta1.LabelSelector{}, nil, true},
		{"a label with its value", withLabel("rack", "a"), labels{"rack": "a"}, true},
		{"a label with another value", withLabel("rack", "a"), labels{"rack": "b"}, false},
		{"an empty value is a value", withLabel("worker", ""), labels{"worker": ""}, true},
		{"an absent label has no empty value", withLabel("worker", ""), labels{}, false},
		{"all must hold", both, labels{"rack": "a"}, false},
		{"all hold", both, labels{"rack": "a", "zone": "1"}, true},
		{"In", where("rack", v1beta1.SelectorIn, "a", "b"), labels{"rack": "b"}, true},
		{"NotIn holds without the label", where("rack", v1beta1.SelectorNotIn, "a"), nil, true},
		{"NotIn", where("rack", v1beta1.SelectorNotIn, "a"), labels{"rack": "a"}, false},
		{"Exists", where("rack", v1beta1.SelectorExists), labels{"rack": ""}, true},
		{"DoesNotExist", where("rack", v1beta1.SelectorDoesNotExist), labels{"rack": "a"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			selector, err := row.selector.Selector()
			if err != nil {
				t.Fatal(err)
			}
			if got := selector.Matches(apilabels.Set(row.labels)); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestSelection(t *testing.T) {
	list := func(selectors ...v1beta1.LabelSelector) []v1beta1.LabelSelector { return selectors }
	for _, row := range []struct {
		name       string
		spec       v1beta1.L2AdvertisementSpec
		pool       string
		poolLabels labels
		want       bool
	}{
		{"with neither names nor selectors, every pool", v1beta1.L2AdvertisementSpec{}, "lan", nil, true},
		{"a pool by name", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan", "wan"}}, "wan", nil, true},
		{"a pool that is not named", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan"}}, "wan", nil, false},
		{"a pool by its labels", v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: list(withLabel("net", "lan"))}, "x", labels{"net": "lan"}, true},
		{"a pool with other labels", v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: list(withLabel("net", "lan"))}, "x", labels{"net": "wan"}, false},
		{"one selector is enough", v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: list(withLabel("net", "lan"), withLabel("net", "wan"))}, "x", labels{"net": "wan"}, true},
		{"names and selectors unite: by name", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan"}, IPAddressPoolSelectors: list(withLabel("net", "wan"))}, "lan", nil, true},
		{"names and selectors unite: by label", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan"}, IPAddressPoolSelectors: list(withLabel("net", "wan"))}, "x", labels{"net": "wan"}, true},
		{"names and selectors unite: neither", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan"}, IPAddressPoolSelectors: list(withLabel("net", "wan"))}, "x", nil, false},
		{"names alone select no pool by having no selectors", v1beta1.L2AdvertisementSpec{IPAddressPools: []v1beta1.ObjectName{"lan"}}, "x", labels{"net": "lan"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			l2, err := row.spec.Selection()
			if err != nil {
				t.Fatal(err)
			}
			bgp, err := (&v1beta1.BGPAdvertisementSpec{IPAddressPools: row.spec.IPAddressPools, IPAddressPoolSelectors: row.spec.IPAddressPoolSelectors}).Selection()
			if err != nil {
				t.Fatal(err)
			}
			if got := l2.Pool(row.pool, row.poolLabels); got != row.want {
				t.Errorf("L2Advertisement: got %v, want %v", got, row.want)
			}
			if got := bgp.Pool(row.pool, row.poolLabels); got != row.want {
				t.Errorf("BGPAdvertisement: got %v, want %v", got, row.want)
			}
		})
	}
	t.Run("Services and nodes each have their selectors", func(t *testing.T) {
		s, err := (&v1beta1.BGPAdvertisementSpec{ServiceSelectors: list(withLabel("app", "web")), NodeSelectors: list(withLabel("rack", "a"))}).Selection()
		if err != nil {
			t.Fatal(err)
		}
		if !s.Service(labels{"app": "web"}) || s.Service(labels{"rack": "a"}) || !s.Node(labels{"rack": "a"}) || s.Node(labels{"app": "web"}) {
			t.Error("they are mixed up")
		}
	})
}

func TestASelectorThatCantBeReadIsNamed(t *testing.T) {
	bad := []v1beta1.LabelSelector{{}, withLabel("no key", "a")}
	for want, err := range map[string]error{
		"ipAddressPoolSelectors[1]":               second((&v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: bad}).Selection()),
		"serviceSelectors[1]":                     second((&v1beta1.L2AdvertisementSpec{ServiceSelectors: bad}).Selection()),
		"nodeSelectors[1]":                        second((&v1beta1.BGPAdvertisementSpec{NodeSelectors: bad}).Selection()),
		"serviceAllocation.namespaceSelectors[1]": second((&v1beta1.ServiceAllocation{NamespaceSelectors: bad}).Audience()),
		"serviceAllocation.serviceSelectors[1]":   second((&v1beta1.ServiceAllocation{ServiceSelectors: bad}).Audience()),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), want+": ") || !strings.Contains(err.Error(), "no key") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestAudience(t *testing.T) {
	list := func(selectors ...v1beta1.LabelSelector) []v1beta1.LabelSelector { return selectors }
	for _, row := range []struct {
		name               string
		allocation         v1beta1.ServiceAllocation
		namespace          string
		namespaceLabels    labels
		service            labels
		forNamespace, want bool
	}{
		{"priority alone is for everybody", v1beta1.ServiceAllocation{Priority: 1}, "team-a", nil, nil, true, true},
		{"a namespace by name", v1beta1.ServiceAllocation{Namespaces: []v1beta1.NamespaceName{"team-a"}}, "team-a", nil, nil, true, true},
		{"another namespace", v1beta1.ServiceAllocation{Namespaces: []v1beta1.NamespaceName{"team-a"}}, "team-b", nil, nil, false, true},
		{"a namespace by its labels", v1beta1.ServiceAllocation{NamespaceSelectors: list(withLabel("tenant", "a"))}, "x", labels{"tenant": "a"}, nil, true, true},
		{"names or labels", v1beta1.ServiceAllocation{Namespaces: []v1beta1.NamespaceName{"team-a"}, NamespaceSelectors: list(withLabel("tenant", "a"))}, "x", labels{"tenant": "a"}, nil, true, true},
		{"neither name nor label", v1beta1.ServiceAllocation{Namespaces: []v1beta1.NamespaceName{"team-a"}, NamespaceSelectors: list(withLabel("tenant", "a"))}, "x", nil, nil, false, true},
		{"Services by their labels, in every namespace", v1beta1.ServiceAllocation{ServiceSelectors: list(withLabel("app", "web"))}, "x", nil, labels{"app": "web"}, true, true},
		{"other Services", v1beta1.ServiceAllocation{ServiceSelectors: list(withLabel("app", "web"))}, "x", nil, labels{"app": "mail"}, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			a, err := row.allocation.Audience()
			if err != nil {
				t.Fatal(err)
			}
			if got := a.Namespace(row.namespace, row.namespaceLabels); got != row.forNamespace {
				t.Errorf("for the namespace: got %v, want %v", got, row.forNamespace)
			}
			if got := a.Service(row.service); got != row.want {
				t.Errorf("for the Service: got %v, want %v", got, row.want)
			}
		})
	}
}

func TestAdvertisesTo(t *testing.T) {
	all, some := v1beta1.BGPAdvertisementSpec{}, v1beta1.BGPAdvertisementSpec{Peers: []v1beta1.ObjectName{"tor-1"}}
	if !all.AdvertisesTo("tor-2") || !some.AdvertisesTo("tor-1") || some.AdvertisesTo("tor-2") {
		t.Error("without peers routes go to all, with peers to those alone")
	}
}

func TestMatchesInterface(t *testing.T) {
	for _, row := range []struct {
		name  string
		globs []v1beta1.InterfaceGlob
		link  string
		want  bool
	}{
		{"none named: the on-link rule decides", nil, "eth0", false},
		{"a name", []v1beta1.InterfaceGlob{"eth0"}, "eth0", true},
		{"a name is not a beginning", []v1beta1.InterfaceGlob{"eth0"}, "eth0.100", false},
		{"any characters", []v1beta1.InterfaceGlob{"eth*"}, "eth0.100", true},
		{"no characters", []v1beta1.InterfaceGlob{"eth*"}, "eth", true},
		{"characters in the middle", []v1beta1.InterfaceGlob{"enp*np1"}, "enp130s0f1np1", true},
		{"one character", []v1beta1.InterfaceGlob{"bond?"}, "bond1", true},
		{"one character is not two", []v1beta1.InterfaceGlob{"bond?"}, "bond10", false},
		{"a dot is a dot", []v1beta1.InterfaceGlob{"eth0.1"}, "eth0x1", false},
		{"everything", []v1beta1.InterfaceGlob{"*"}, "lo", true},
		{"one of several", []v1beta1.InterfaceGlob{"eth0", "br-*"}, "br-lan", true},
		{"a pattern that can't be read matches nothing", []v1beta1.InterfaceGlob{"eth[0"}, "eth0", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			spec := v1beta1.L2AdvertisementSpec{Interfaces: row.globs}
			if got := spec.MatchesInterface(row.link); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

// A slow twin for patterns: the regular expression that they stand for.
func TestInterfaceGlobsMeanWhatTheyShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringOfN(rapid.SampledFrom([]rune("ab0.-*?")), 1, 10, -1).Draw(t, "glob")
		name := rapid.StringOfN(rapid.SampledFrom([]rune("ab0.-")), 1, 15, -1).Draw(t, "name")
		expression := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(glob))
		want := regexp.MustCompile("^" + expression + "$").MatchString(name)
		if got := v1beta1.InterfaceGlob(glob).Matches(name); got != want {
			t.Fatalf("%q matches %q: got %v, want %v", glob, name, got, want)
		}
	})
}

func FuzzInterfaceGlob(f *testing.F) {
	f.Add("eth*", "eth0")
	f.Add("[", "\\")
	f.Fuzz(func(t *testing.T, glob, name string) {
		if len(glob) > 32 || len(name) > 15 {
			return
		}
		v1beta1.InterfaceGlob(glob).Matches(name)
		if name != "" && !strings.ContainsAny(name, `*?[\/`) && !v1beta1.InterfaceGlob(name).Matches(name) {
			t.Errorf("%q does not match itself", name)
		}
	})
}

func TestPreference(t *testing.T) {
	edge := v1beta1.LabelSelector{MatchLabels: map[string]v1beta1.LabelValue{"zone": "edge"}}
	fast := v1beta1.LabelSelector{MatchLabels: map[string]v1beta1.LabelValue{"disk": "fast"}}
	spec := v1beta1.L2AdvertisementSpec{PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{{Weight: 10, Preference: edge}, {Weight: 5, Preference: fast}}}
	selection, err := spec.Selection()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		labels map[string]string
		want   int32
	}{
		{"none", nil, 0},
		{"one", map[string]string{"zone": "edge"}, 10},
		{"both add up", map[string]string{"zone": "edge", "disk": "fast"}, 15},
	} {
		if got := selection.Preference(row.labels); got != row.want {
			t.Errorf("%s: %d, want %d", row.name, got, row.want)
		}
	}
	spec.PreferredNodeSelectors[0].Preference.MatchExpressions = append(spec.PreferredNodeSelectors[0].Preference.MatchExpressions, v1beta1.LabelSelectorRequirement{Key: "zone", Operator: "Near"})
	if _, err := spec.Selection(); err == nil {
		t.Error("a selector that can't be read is taken")
	}
}
