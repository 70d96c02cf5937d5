// Package cgroup gives each node of the lab a control group of its own, so
// that a real kubelet finds a hierarchy it may rule and three of them do not
// meet.
//
// The kernel binds a controller either to its own v1 hierarchy or to the
// unified (v2) one, for the whole machine, so the lab takes what it finds:
//
//	v1 or hybrid   /sys/fs/cgroup/memory/…caller…/lab-node1     one below the
//	               /sys/fs/cgroup/cpu/…caller…/lab-node1        caller's own,
//	               …                                            per hierarchy
//
//	v2             /sys/fs/cgroup/…nearest cgroup whose children
//	               may have cpu, cpuset, memory and pids…/lab-node1
//
// In the node, which lives in a cgroup namespace, these directories are the
// roots; [Layout.MountInside] mounts them there.
package cgroup
