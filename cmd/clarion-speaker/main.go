// clarion-speaker answers ARP and NDP on one node for the addresses that fall to it.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

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
	if os.Getenv("GOGC") == "" {
		// Little is allocated while nothing changes, and what is kept goes with the number of Services: memory is dearer than the
		// time that collecting takes.
		debug.SetGCPercent(50)
	}
	if err := command().ExecuteContext(program.Signalled()); err != nil {
		fmt.Fprintln(os.Stderr, "clarion-speaker:", err)
		os.Exit(1)
	}
}
