// Generate writes the page of every field of the API. It runs in the checkout's root (make generate).
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/clarion-lb/clarion/docs/reference"
)

func main() {
	crds, err := reference.ReadCRDs("config/crd")
	if err == nil {
		err = os.WriteFile(filepath.Join("docs/reference", reference.FieldsPage), []byte(reference.Fields(crds)), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
