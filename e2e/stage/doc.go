// Package stage sets the stage for a story on the lab: Clarion as its users
// install it, pools, Services with something behind them, and a client that
// watches.
//
//	l := lab.Up(t, lab.Options{})
//	stage.Install(ctx, l, progress)       images from this checkout, deploy/clarion.yaml, nothing else
//	stage.Announce(ctx, l)                a pool on the LAN and an L2Advertisement
//	stage.Serve(ctx, l, stage.Web{…})     a Deployment of the test server and a Service of type LoadBalancer
//	stage.Addresses(ctx, l, "web")        what it got
//	stage.Watch(ctx, l, target).Stop()    what a client that connects every 10 ms saw
//
// [Run] is the other way to install: plain processes on light nodes, where
// kubelets would add nothing but time.
package stage
