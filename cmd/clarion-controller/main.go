// clarion-controller gives Services of type LoadBalancer their addresses.
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
		fmt.Fprintln(os.Stderr, "clarion-controller:", err)
		os.Exit(1)
	}
}
