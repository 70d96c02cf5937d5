package v1beta1

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Bounds of what a Service may ask.
const (
	maxAddressesValue = 128
	// MaxSharingKeyLength is how many bytes a sharing key may have.
	MaxSharingKeyLength = 253
)

// Request is what a Service asks for.
//
// +kubebuilder:object:generate=false
type Request struct {
	// Addresses that it asks for, in its order: none, one, or one of each family.
	Addresses []netip.Addr
	// Pool that it asks for; "" is any.
	Pool string
	// SharingKey under which it shares its addresses; "" is not at all.
	SharingKey string
}

// RequestError says why a request can't be read.
//
// +kubebuilder:object:generate=false
type RequestError struct {
	// Reason is ReasonInvalidRequest or ReasonConflictingRequests.
	Reason Reason
	// Message names where the value stands, the value, and what is expected.
	Message string
}

// Error returns the message.
func (e *RequestError) Error() string { return e.Message }

// ParseRequest reads what a Service asks for: its annotations under all three prefixes and
// spec.loadBalancerIP. Whatever is said several times must agree, in any order; an empty value says
// nothing. The error is a *RequestError.
func ParseRequest(annotations map[string]string, loadBalancerIP string) (Request, error) {
	var r Request

	pools, err := readEach(annotations, keyAddressPool, parsePoolName)
	if err != nil {
		return Request{}, err
	}
	if r.Pool, err = agree(pools, func(a, b string) bool { return a == b }, quote); err != nil {
		return Request{}, err
	}

	keys, err := readEach(annotations, keyAllowSharedIP, parseSharingKey)
	if err != nil {
		return Request{}, err
	}
	if r.SharingKey, err = agree(keys, func(a, b string) bool { return a == b }, quote); err != nil {
		return Request{}, err
	}

	addresses, err := readEach(annotations, keyLoadBalancerIPs, parseAddresses)
	if err != nil {
		return Request{}, err
	}
	if value := strings.TrimSpace(loadBalancerIP); value != "" {
		a, err := parseRequested(value)
		if err != nil {
			return Request{}, invalid("spec.loadBalancerIP", err)
		}
		addresses = append(addresses, said[[]netip.Addr]{"spec.loadBalancerIP", []netip.Addr{a}})
	}
	if r.Addresses, err = agree(addresses, sameAddresses, listAddresses); err != nil {
		return Request{}, err
	}
	return r, nil
}

// said is a value and where it was said.
//
// +kubebuilder:object:generate=false
type said[T any] struct {
	where string
	value T
}

// readEach reads what an annotation says under each prefix, our own first.
func readEach[T any](annotations map[string]string, key string, parse func(string) (T, error)) ([]said[T], error) {
	var out []said[T]
	for _, prefix := range []string{AnnotationPrefix, MetalLBPrefix, MetalLBOldPrefix} {
		value := annotations[prefix+key]
		if strings.TrimSpace(value) == "" {
			continue
		}
		parsed, err := parse(value)
		if err != nil {
			return nil, invalid("annotation "+prefix+key, err)
		}
		out = append(out, said[T]{"annotation " + prefix + key, parsed})
	}
	return out, nil
}

// agree returns the value that all have said, the first one's spelling.
func agree[T any](values []said[T], equal func(a, b T) bool, show func(T) string) (T, error) {
	if len(values) == 0 {
		var none T
		return none, nil
	}
	first := values[0]
	for _, other := range values[1:] {
		if !equal(first.value, other.value) {
			var none T
			return none, &RequestError{
				Reason: ReasonConflictingRequests,
				Message: fmt.Sprintf("%s asks for %s, but %s asks for %s: make them agree, or remove all but one",
					first.where, show(first.value), other.where, show(other.value)),
			}
		}
	}
	return first.value, nil
}

func invalid(where string, err error) error {
	return &RequestError{Reason: ReasonInvalidRequest, Message: where + ": " + err.Error()}
}

func parsePoolName(value string) (string, error) {
	name := strings.TrimSpace(value)
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return "", fmt.Errorf("%s is no pool's name: write the name of one IPAddressPool", quote(value))
	}
	return name, nil
}

func parseSharingKey(value string) (string, error) {
	if len(value) > MaxSharingKeyLength {
		return "", fmt.Errorf("%s has %d bytes: write a sharing key of at most %d", quote(value), len(value), MaxSharingKeyLength)
	}
	return value, nil
}

func parseAddresses(value string) ([]netip.Addr, error) {
	const expected = "write one address such as 192.0.2.10, or one IPv4 and one IPv6 address such as 192.0.2.10,2001:db8::10"
	if len(value) > maxAddressesValue {
		return nil, fmt.Errorf("%s is longer than two addresses: %s", quote(value), expected)
	}
	parts := strings.Split(value, ",")
	if len(parts) > 2 {
		return nil, fmt.Errorf("%s has %d entries: %s", quote(value), len(parts), expected)
	}
	var out []netip.Addr
	for _, part := range parts {
		a, err := parseRequested(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	if len(out) == 2 && out[0].Is4() == out[1].Is4() {
		return nil, fmt.Errorf("%s has two addresses of one family: %s", quote(value), expected)
	}
	return out, nil
}

func parseRequested(s string) (netip.Addr, error) {
	if strings.Contains(s, "/") {
		return netip.Addr{}, fmt.Errorf("%s has a prefix length: write the address alone; to choose a range ask for a pool by %s", quote(s), AnnotationAddressPool)
	}
	return parseAddress(s)
}

func sameAddresses(a, b []netip.Addr) bool {
	set := func(list []netip.Addr) map[netip.Addr]bool {
		m := make(map[netip.Addr]bool, len(list))
		for _, x := range list {
			m[x] = true
		}
		return m
	}
	return maps.Equal(set(a), set(b))
}

func listAddresses(list []netip.Addr) string {
	texts := make([]string, 0, len(list))
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}
