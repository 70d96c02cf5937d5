package controller

import clarion "github.com/clarion-lb/clarion/api/v1beta1"

// advice is what the owner of a Service that is refused may do, or have done, about it. Of the reasons that are not here the message itself
// says what to write instead.
var advice = map[clarion.Reason]string{
	clarion.ReasonNoPool:           "Ask for a pool that may serve it (annotation clarion.dev/address-pool), or have a pool's serviceAllocation or autoAssign changed",
	clarion.ReasonPoolNotFound:     "Correct the name, or have the IPAddressPool created",
	clarion.ReasonPoolExhausted:    "It gets the next address that is given up, or one that is added to a pool",
	clarion.ReasonQuotaReached:     "Delete a Service of the namespace, or have the pool's quota.perNamespace raised",
	clarion.ReasonPoolNotReady:     "Have the pool mended as its condition Ready says",
	clarion.ReasonPoolDeleting:     "Ask for another pool",
	clarion.ReasonAddressNotInPool: "Ask for an address of a pool, or have this one added to a pool",
	clarion.ReasonAddressInUse:     "Ask for another address, or let both Services share it (annotation clarion.dev/allow-shared-ip on both, no port in common)",
	clarion.ReasonAddressResting:   "Wait until then, or ask for another address",
	clarion.ReasonAddressExcluded:  "Ask for another address",
	clarion.ReasonFamilyMismatch:   "Change spec.ipFamilyPolicy or what is asked for, or have a pool of that family added",
	clarion.ReasonNoClusterIP:      "A headless Service can't be a load balancer: make it anew without clusterIP: None",
}
