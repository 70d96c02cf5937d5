package controller

import (
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

func TestALeaseIsOfWholeSeconds(t *testing.T) {
	for duration, ok := range map[time.Duration]bool{
		0:           true, // the default
		time.Second: true, 8 * time.Second: true,
		8500 * time.Millisecond: false, 999 * time.Millisecond: false, -time.Second: false, 8*time.Second + 1: false,
	} {
		o := Options{Config: &rest.Config{}, Classes: clarion.ServiceClasses{Unclassed: true}, LeaseDuration: duration}
		if duration != 0 {
			o.RenewDeadline, o.RetryPeriod = 500*time.Millisecond, 100*time.Millisecond
		}
		err := o.Validate()
		if (err == nil) != ok {
			t.Errorf("a lease of %v: %v", duration, err)
		}
		if !ok && err != nil && !strings.Contains(err.Error(), "give whole seconds") {
			t.Errorf("a lease of %v is refused without advice: %v", duration, err)
		}
	}
}
