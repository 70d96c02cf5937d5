// Package doctor finds what keeps Clarion from working in a cluster, before it is installed and after.
//
// # Contract
//
// [Examine] takes what was seen of a cluster and returns the [Result] of every check: what is wrong, and what to do about it. It is pure, and
// asks nothing; what was not seen (because the caller may not, say) its checks report as not looked at, never as good.
//
// Each check is one function in install.go, pods.go, network.go, hosts.go or talk.go, in the order in which they are told: a cause before its consequences.
package doctor
