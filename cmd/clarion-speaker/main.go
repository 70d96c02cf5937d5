// clarion-speaker answers ARP and NDP on one node for the addresses that fall to it.
package main

import (
	"fmt"
	"os"

	"github.com/clarion-lb/clarion/cmd/internal/program"
)

// version is set when the program is linked.
var version = "dev"

func main() {
	if err := command().ExecuteContext(program.Signalled()); err != nil {
		fmt.Fprintln(os.Stderr, "clarion-speaker:", err)
		os.Exit(1)
	}
}
