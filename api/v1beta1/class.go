package v1beta1

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ServiceClasses says which Services are served, by their spec.loadBalancerClass.
//
// +kubebuilder:object:generate=false
type ServiceClasses struct {
	// Classes that are served.
	Classes []string
	// Unclassed says whether Services without a class are served.
	Unclassed bool
}

// Serves reports whether a Service of a class (nil for none) is served.
func (c ServiceClasses) Serves(class *string) bool {
	if class == nil {
		return c.Unclassed
	}
	return slices.Contains(c.Classes, *class)
}

// Validate checks what a flag has given: each class must be one that a Service can have, and some Service
// must be served.
func (c ServiceClasses) Validate() error {
	if len(c.Classes) == 0 && !c.Unclassed {
		return errors.New("no Service would be served: give at least one class, or serve those without")
	}
	for _, class := range c.Classes {
		if problems := validation.IsQualifiedName(class); len(problems) > 0 {
			return fmt.Errorf("%s is no load balancer class: write one such as %s", quote(class), DefaultLoadBalancerClass)
		}
	}
	return nil
}
