package v1beta1_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestParseRequest(t *testing.T) {
	type annotations = map[string]string
	for _, row := range []struct {
		name           string
		annotations    annotations
		loadBalancerIP string
		want           string
		reason         v1beta1.Reason
		err            string
	}{
		{name: "a Service that asks for nothing", want: "[] pool= key="},
		{name: "annotations of others say nothing", annotations: annotations{"example.com/address-pool": "public"}, want: "[] pool= key="},
		{name: "a pool", annotations: annotations{"clarion.dev/address-pool": "public"}, want: "[] pool=public key="},
		{name: "a pool, as MetalLB's users write it", annotations: annotations{"metallb.io/address-pool": "public"}, want: "[] pool=public key="},
		{name: "a pool, as MetalLB's users used to write it", annotations: annotations{"metallb.universe.tf/address-pool": " public "}, want: "[] pool=public key="},
		{name: "an address", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7"}, want: "[192.0.2.7] pool= key="},
		{name: "an address in the spec", loadBalancerIP: "192.0.2.7", want: "[192.0.2.7] pool= key="},
		{name: "both families, in the order asked for", annotations: annotations{"metallb.io/loadBalancerIPs": " 2001:db8::7 , 192.0.2.7"}, want: "[2001:db8::7 192.0.2.7] pool= key="},
		{name: "a sharing key is taken as it is", annotations: annotations{"clarion.dev/allow-shared-ip": "mail, all of it"}, want: "[] pool= key=mail, all of it"},
		{name: "all at once", annotations: annotations{"clarion.dev/address-pool": "public", "clarion.dev/loadBalancerIPs": "192.0.2.7", "clarion.dev/allow-shared-ip": "k"}, want: "[192.0.2.7] pool=public key=k"},
		{name: "an empty value says nothing", annotations: annotations{"clarion.dev/address-pool": "", "clarion.dev/loadBalancerIPs": "  ", "metallb.io/address-pool": "public"}, loadBalancerIP: " ", want: "[] pool=public key="},

		{name: "several prefixes that agree", annotations: annotations{"clarion.dev/address-pool": "public", "metallb.io/address-pool": "public", "metallb.universe.tf/address-pool": "public"}, want: "[] pool=public key="},
		{name: "annotation and spec that agree", annotations: annotations{"metallb.io/loadBalancerIPs": "192.0.2.7"}, loadBalancerIP: "192.0.2.7", want: "[192.0.2.7] pool= key="},
		{name: "addresses agree in any order and spelling, our own prefix's order holds", annotations: annotations{"metallb.io/loadBalancerIPs": "192.0.2.7,2001:db8::7", "clarion.dev/loadBalancerIPs": "2001:DB8:0::7,192.0.2.7"}, want: "[2001:db8::7 192.0.2.7] pool= key="},

		{name: "two pools", annotations: annotations{"clarion.dev/address-pool": "public", "metallb.io/address-pool": "lab"},
			reason: v1beta1.ReasonConflictingRequests, err: `annotation clarion.dev/address-pool asks for "public", but annotation metallb.io/address-pool asks for "lab": make them agree, or remove all but one`},
		{name: "two keys", annotations: annotations{"metallb.io/allow-shared-ip": "a", "metallb.universe.tf/allow-shared-ip": "b"},
			reason: v1beta1.ReasonConflictingRequests, err: "make them agree"},
		{name: "two addresses", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7"}, loadBalancerIP: "192.0.2.8",
			reason: v1beta1.ReasonConflictingRequests, err: "annotation clarion.dev/loadBalancerIPs asks for 192.0.2.7, but spec.loadBalancerIP asks for 192.0.2.8"},
		{name: "one address beside two", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7,2001:db8::7"}, loadBalancerIP: "192.0.2.7",
			reason: v1beta1.ReasonConflictingRequests, err: "asks for 192.0.2.7,2001:db8::7, but spec.loadBalancerIP asks for 192.0.2.7"},

		{name: "a pool that can't be", annotations: annotations{"clarion.dev/address-pool": "Public Pool"},
			reason: v1beta1.ReasonInvalidRequest, err: `annotation clarion.dev/address-pool: "Public Pool" is no pool's name: write the name of one IPAddressPool`},
		{name: "two pools in one value", annotations: annotations{"metallb.io/address-pool": "a,b"},
			reason: v1beta1.ReasonInvalidRequest, err: "the name of one IPAddressPool"},
		{name: "a word for an address", annotations: annotations{"metallb.io/loadBalancerIPs": "auto"},
			reason: v1beta1.ReasonInvalidRequest, err: `annotation metallb.io/loadBalancerIPs: "auto" is no IP address: write one such as 192.0.2.10`},
		{name: "a word for an address in the spec", loadBalancerIP: "auto",
			reason: v1beta1.ReasonInvalidRequest, err: `spec.loadBalancerIP: "auto" is no IP address`},
		{name: "two addresses in the spec", loadBalancerIP: "192.0.2.7,2001:db8::7",
			reason: v1beta1.ReasonInvalidRequest, err: "is no IP address"},
		{name: "a network for an address", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.0/24"},
			reason: v1beta1.ReasonInvalidRequest, err: "write the address alone; to choose a range ask for a pool by clarion.dev/address-pool"},
		{name: "a mapped address", annotations: annotations{"clarion.dev/loadBalancerIPs": "::ffff:192.0.2.7"},
			reason: v1beta1.ReasonInvalidRequest, err: "write 192.0.2.7"},
		{name: "an address with a zone", loadBalancerIP: "fe80::1%eth0",
			reason: v1beta1.ReasonInvalidRequest, err: "has a zone"},
		{name: "two addresses of one family", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7,192.0.2.8"},
			reason: v1beta1.ReasonInvalidRequest, err: "two addresses of one family: write one address such as 192.0.2.10, or one IPv4 and one IPv6"},
		{name: "the same address twice", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7,192.0.2.7"},
			reason: v1beta1.ReasonInvalidRequest, err: "two addresses of one family"},
		{name: "three addresses", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7,2001:db8::7,192.0.2.8"},
			reason: v1beta1.ReasonInvalidRequest, err: "has 3 entries"},
		{name: "a comma too many", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7,"},
			reason: v1beta1.ReasonInvalidRequest, err: `"" is no IP address`},
		{name: "a novel for an address", annotations: annotations{"clarion.dev/loadBalancerIPs": strings.Repeat("x", 100_000)},
			reason: v1beta1.ReasonInvalidRequest, err: "is longer than two addresses"},
		{name: "a novel for a key", annotations: annotations{"clarion.dev/allow-shared-ip": strings.Repeat("x", 254)},
			reason: v1beta1.ReasonInvalidRequest, err: "write a sharing key of at most 253"},
		{name: "what can't be read is said before what does not agree", annotations: annotations{"clarion.dev/loadBalancerIPs": "192.0.2.7", "metallb.io/loadBalancerIPs": "auto"},
			reason: v1beta1.ReasonInvalidRequest, err: "annotation metallb.io/loadBalancerIPs"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := v1beta1.ParseRequest(row.annotations, row.loadBalancerIP)
			if row.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if text := fmt.Sprintf("%v pool=%s key=%s", got.Addresses, got.Pool, got.SharingKey); text != row.want {
					t.Errorf("got %s, want %s", text, row.want)
				}
				return
			}
			var refused *v1beta1.RequestError
			if !errors.As(err, &refused) {
				t.Fatalf("got %+v, %v; want a RequestError", got, err)
			}
			if refused.Reason != row.reason || !strings.Contains(refused.Message, row.err) {
				t.Errorf("got %s: %s\nwant %s: …%s…", refused.Reason, refused.Message, row.reason, row.err)
			}
			if len(refused.Message) > 500 {
				t.Errorf("a message of %d bytes", len(refused.Message))
			}
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("192.0.2.7", "192.0.2.7,2001:db8::7", "", "public", "public", "key")
	f.Add("", "2001:db8::7 , 192.0.2.7", "192.0.2.7,2001:db8::7", "a", "b", "")
	f.Add("fe80::1%eth0", ",", "::ffff:1.2.3.4", "", "\x00", "\xff")
	f.Fuzz(func(t *testing.T, ip, ips, metallbIPs, pool, metallbPool, key string) {
		got, err := v1beta1.ParseRequest(map[string]string{
			"clarion.dev/loadBalancerIPs":      ips,
			"metallb.io/loadBalancerIPs":       metallbIPs,
			"clarion.dev/address-pool":         pool,
			"metallb.universe.tf/address-pool": metallbPool,
			"clarion.dev/allow-shared-ip":      key,
		}, ip)
		if err != nil {
			var refused *v1beta1.RequestError
			if !errors.As(err, &refused) || len(refused.Message) > 1500 ||
				(refused.Reason != v1beta1.ReasonInvalidRequest && refused.Reason != v1beta1.ReasonConflictingRequests) {
				t.Errorf("error %T of %d bytes: %v", err, len(err.Error()), err)
			}
			return
		}
		if len(got.Addresses) > 2 || len(got.Addresses) == 2 && got.Addresses[0].Is4() == got.Addresses[1].Is4() {
			t.Errorf("addresses %v", got.Addresses)
		}
		// What was understood, asked for once and plainly, means the same.
		var plain []string
		for _, a := range got.Addresses {
			plain = append(plain, a.String())
		}
		again, err := v1beta1.ParseRequest(map[string]string{
			v1beta1.AnnotationLoadBalancerIPs: strings.Join(plain, ","),
			v1beta1.AnnotationAddressPool:     got.Pool,
			v1beta1.AnnotationAllowSharedIP:   got.SharingKey,
		}, "")
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("%+v became %+v (%v)", got, again, err)
		}
	})
}
