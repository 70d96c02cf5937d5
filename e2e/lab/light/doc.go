// Package light stands in for a kubelet where containers would add nothing but
// weight. It reports a node, and plays the pods that are bound to it:
//
//   - the Node object with a kubelet's labels, addresses and conditions, and its
//     Lease, renewed from the node's own network, so that a node that is cut
//     becomes NotReady as a real one does;
//   - each pod gets addresses of the node's part of the pod network, is Running
//     and Ready at once, and its TCP container ports answer HTTP as the lab's
//     test server does. Pods on the host's network get the node's addresses and
//     no server: what would run there, the test runs as a process;
//   - a pod that is deleted goes at once.
//
// Deployments, Services and EndpointSlices are Kubernetes' own, made by its
// controllers from these objects. Images, volumes, probes and commands are not
// looked at. The annotation [ReadyAnnotation] takes the place of a probe.
package light
