// Package v1beta1 is Clarion's API: the kinds of the group clarion.dev, what their fields mean, and
// the plain functions that read them the same way in every program.
//
//	IPAddressPool     addresses that Services may get          ipap
//	L2Advertisement   announce addresses by ARP and NDP        l2adv
//	BGPAdvertisement  announce addresses as BGP routes         bgpadv
//	BGPPeer           a router to speak BGP with               bgpp
//	BFDProfile        how fast a dead router is noticed        bfdp
//	Community         names for BGP communities                bgpcomm
//	Speaker           what one node's speaker does and sees    spk
//
// All kinds are cluster-scoped and in the category "clarion" (kubectl get clarion).
//
// What a schema or a CEL rule can check is refused at kubectl apply, and so are fields that are not
// there; a client that asks for less than strict validation has those dropped (docs/reference/api.md).
// Fields of MetalLB's that Clarion does not take are in the schema only to be refused with their
// replacement named. What shows only across objects, or by arithmetic that CEL has not, is said by the
// functions here (ParsePool, ParseRequest, …) in errors that name the value and what to write instead;
// they end up in conditions.
//
// Shapes are those of a later v1: fields are added, never changed, and a string enum may get further
// values, so that readers must expect one that they don't know.
//
// A Service speaks to Clarion by annotations (annotations.go) and hears from it by conditions
// (conditions.go), whose types and reasons are a closed vocabulary.
//
// The package needs k8s.io/apimachinery and go4.org/netipx and nothing heavier; a test holds it to that.
//
// +kubebuilder:object:generate=true
// +groupName=clarion.dev
package v1beta1
