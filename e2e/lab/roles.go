package lab

import (
	"os"

	"github.com/clarion-lb/clarion/e2e/lab/light"
	"github.com/clarion-lb/clarion/e2e/lab/machine"
)

// The lab's own processes are the program that made the lab, executed under
// another name: no second binary to build and find. It is done here, before
// main, so that a test binary can play the roles too.
func init() {
	switch os.Args[0] {
	case machine.InitName:
		machine.Main()
	case light.Name:
		light.Main()
	case guardName:
		guardMain()
	}
}
