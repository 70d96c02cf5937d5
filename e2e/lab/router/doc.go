// Package router runs FRR and BIRD for tests, in a network namespace or on a host of the lab.
//
//	r, err := router.Start(ctx, place, router.Spec{Kind: router.FRR, Config: `
//	router bgp 65000
//	 neighbor 10.99.0.11 remote-as 65001
//	`})
//	err = r.ShowJSON(ctx, "show bgp ipv4 unicast json", &table)
//
// What a router holds is read from the router: by vtysh as text or JSON, by birdc as text. FRR runs zebra,
// bgpd and bfdd; Debian's packages are unpacked into the lab's cache, nothing is installed.
package router
