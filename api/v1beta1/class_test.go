package v1beta1_test

import (
	"strings"
	"testing"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestServiceClasses(t *testing.T) {
	class := func(s string) *string { return &s }
	usual := v1beta1.ServiceClasses{Classes: []string{v1beta1.DefaultLoadBalancerClass}, Unclassed: true}
	for _, row := range []struct {
		name    string
		classes v1beta1.ServiceClasses
		class   *string
		want    bool
	}{
		{"the default serves Services without a class", usual, nil, true},
		{"the default serves its class", usual, class("clarion.dev/clarion"), true},
		{"the default leaves other classes alone", usual, class("metallb.io/metallb"), false},
		{"an empty class is a class", usual, class(""), false},
		{"Services without a class left to another provider", v1beta1.ServiceClasses{Classes: []string{"a/b"}}, nil, false},
		{"one of several classes", v1beta1.ServiceClasses{Classes: []string{"a/b", "metallb.io/metallb"}}, class("metallb.io/metallb"), true},
		{"no class at all", v1beta1.ServiceClasses{Unclassed: true}, class("clarion.dev/clarion"), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := row.classes.Serves(row.class); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	if err := usual.Validate(); err != nil {
		t.Error(err)
	}
	for want, wrong := range map[string]v1beta1.ServiceClasses{
		"no Service would be served":               {},
		`"" is no load balancer class`:             {Classes: []string{""}},
		`"a/b/c" is no load balancer class: write`: {Classes: []string{"x", "a/b/c"}},
	} {
		if err := wrong.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want an error that says %q", wrong, err, want)
		}
	}
}
