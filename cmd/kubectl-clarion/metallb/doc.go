// Package metallb says in Clarion's objects what a MetalLB configuration means.
//
// # Contract
//
// [Convert] takes everything that was found of a MetalLB (its resources in every version, the ConfigMap of 0.12 and before, its
// Deployment and DaemonSet, the cluster's Services), and returns a [Result]: Clarion's objects, settings of Clarion's programs, and a
// [Note] wherever more is to be said than "the same". It is pure: it asks no cluster and changes nothing.
//
// What becomes of each field is one table, [Fields]. The conversion follows it and the documentation prints it, so that they can't differ.
package metallb
