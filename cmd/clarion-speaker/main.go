// clarion-speaker answers ARP and NDP on one node for the addresses that fall to it.
package main

import (
	"fmt"
	"os"

	"github.com/clarion-lb/clarion/cmd/internal/program"
	"github.com/clarion-lb/clarion/speaker/bgp"
	"github.com/clarion-lb/clarion/speaker/bgp/child"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	// The speaker starts itself again under this name, to have BGP in a process of its own.
	if os.Args[0] == bgp.ChildName {
		os.Exit(child.Main())
	}
	if err := command().ExecuteContext(program.Signalled()); err != nil {
		fmt.Fprintln(os.Stderr, "clarion-speaker:", err)
		os.Exit(1)
	}
}
