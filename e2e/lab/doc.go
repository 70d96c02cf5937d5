// Package lab is a whole Kubernetes cluster on one machine, in namespaces, with
// a LAN that can be cut.
//
//	fabric (the switches; a network namespace without addresses)
//	┌───────────────────────── segment "lan" ─────────────────────────┐
//	│  10.99.0.0/16   fd99::/64                                       │
//	└──┬───────────┬───────────┬───────────┬───────────┬──────────────┘
//	  .0.10       .0.5       .0.11       .0.12       .0.13     10.99.x.x
//	  ::10        ::5         ::11        ::12        ::13     fd99::x
//	┌──┴───┐   ┌───┴────┐   ┌──┴────┐   ┌──┴────┐   ┌──┴────┐
//	│  cp  │   │ client │   │ node1 │   │ node2 │   │ node3 │  …
//	└──────┘   └────────┘   └───────┘   └───────┘   └───────┘
//	 etcd        what a      kubelet     pods: 10.98.2.0/24
//	 apiserver   user of     containerd        fd98:0:0:2::/64
//	 kcm         Services    kube-proxy
//	 scheduler   sees        pods
//
// Every box is a [Host]: a machine of package machine with a port on a segment.
// Nodes run a real kubelet, containerd and kube-proxy; or, in light mode, a
// process that keeps the Node, Lease and Pod objects as a kubelet would and
// answers HTTP for the pods. Services have cluster addresses in 10.97.0.0/16 and
// fd97::/112. The LAN's addresses from 10.99.1.0 and from fd99::1:0 on are nobody's:
// they are for pools ([PoolV4], [PoolV6]). Routers and further segments are added
// by [Lab.AddSegment] and [Lab.AddHost].
//
// A test reads like a story:
//
//	l := lab.Up(t, lab.Options{Nodes: 3})
//	l.LoadImage(ctx, "speaker.tar")
//	l.Apply(ctx, "deploy/clarion.yaml")
//	owner, err := l.WhoAnswers(ctx, address)      by the client's neighbour table
//	owner.Node.Cut()
//	all, err := l.AskLAN(ctx, address, second)    by everybody's answers on the wire
//	owner.Node.Heal()
//
// Packages stage and probe in e2e have what such a test mostly needs: Clarion
// installed, Services with something behind them, a client that measures gaps.
//
// What a lab leaves on the host while it is up is one directory, the processes
// and, for real nodes, their control groups. [Destroy] removes all of it from
// the lab's name alone, whatever happened to the process that made it.
package lab
