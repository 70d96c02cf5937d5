// Package scenarios has the stories that Clarion must get right, told on the
// lab: a whole cluster, the product as shipped, real packets. They are tests only.
//
//	TestAsShipped        images and manifest on nodes with real kubelets
//	TestPackages         from MetalLB, by Helm and by the manifest: install, upgrade under load, uninstall
//	TestProcesses        controller and speakers as plain processes on light nodes
//	TestLayer2Ownership  the same: addresses that move, and those that must not
//	TestLayer2OnTheWire  the same: other hosts, routers and kernels that answer, too
//	TestMixedVersions    the same: speakers of two revisions (if one is named)
//	TestSoak             the same: an hour in which nothing moves (if asked for)
//	TestLongSplit        the same: ten minutes in two parts (if asked for)
//	TestBGP              the same, with FRR, BIRD and a client behind them
//
// The subtests of a story run in order on one cluster, and each leaves it as it
// found it. Bounds are generous: how fast things are is for benchmarks to say.
package scenarios
