// Package supply gets everything the lab is built from, once, into a cache:
//
//	<cache>/kubernetes-v1.36.3-<go.sum>/bin   Kubernetes and etcd, built from
//	                                          the module in e2e/kubernetes
//	<cache>/kubernetes-v1.31.0-<go.sum>/bin   the API server of the oldest
//	                                          Kubernetes that Clarion runs on
//	<cache>/containers-<codename>/            containerd, runc and CNI plugins,
//	                                          unpacked from Debian's packages
//	<cache>/routers-<codename>/               FRR and BIRD with their libraries,
//	                                          likewise; only for tests of BGP
//	<cache>/pause-<source>.tar                the pause image
//
// and installs the few tools that Kubernetes calls by name (ip, nft, iptables).
// [Check] says beforehand, in one message, what this machine lacks.
//
// The cache is ${CLARION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clarion}. Each
// entry appears in it whole or not at all, and two processes that want the same
// one do not both make it.
package supply
