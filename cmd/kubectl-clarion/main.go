// Command kubectl-clarion is a plugin of kubectl: kubectl clarion.
package main

import (
	"errors"
	"fmt"
	"os"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // as kubectl does
)

// version is set when it is built.
var version = "dev"

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	// What goes wrong in forwarding a port is in the error of who asked for it, in our words.
	utilruntime.ErrorHandlers = nil
	if err := command(streams).Execute(); err != nil {
		if !errors.Is(err, errUnhealthy) { // which has been printed at length
			fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(1)
	}
}
