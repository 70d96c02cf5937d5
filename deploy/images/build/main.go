// Build writes the images of Clarion's two programs as OCI archives, from binaries in bin/linux_ARCH; `make images` makes both:
//
//	go run ./deploy/images/build --tag v1.2.3
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clarion-lb/clarion/deploy/images"
)

func main() {
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var (
		repository, tag, revision, binaries, output string
		architectures                               []string
		compression                                 int
	)
	c := &cobra.Command{
		Use:          "build --tag TAG",
		Short:        "Write the images of clarion-controller and clarion-speaker as OCI archives",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			created, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			for _, image := range images.Clarion(repository, tag, binaries, architectures...) {
				image.Created, image.Compression = created, compression
				image.Labels["org.opencontainers.image.created"] = created.Format(time.RFC3339)
				if revision != "" {
					image.Labels["org.opencontainers.image.revision"] = revision
				}
				file := filepath.Join(output, image.Labels["org.opencontainers.image.title"]+".tar")
				if err := image.WriteFile(file); err != nil {
					return err
				}
				info, err := os.Stat(file)
				if err != nil {
					return err
				}
				if err := writeSBOMs(image, tag, output, created); err != nil {
					return err
				}
				fmt.Fprintf(c.OutOrStdout(), "%s  %s (%s)  %.1f MB\n", file, image.Name, strings.Join(architectures, ", "), float64(info.Size())/1e6)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&repository, "repository", "localhost/clarion-", "what the images' names begin with; \"controller\" or \"speaker\" and the tag follow")
	f.StringVar(&tag, "tag", "", "the images' tag (required)")
	f.StringVar(&revision, "revision", "", "the commit that the binaries were built from, noted in the images")
	f.StringVar(&binaries, "binaries", "bin", "directory with linux_ARCH/clarion-controller and linux_ARCH/clarion-speaker")
	f.StringSliceVar(&architectures, "arch", []string{"amd64", "arm64"}, "architectures to put into each image")
	f.StringVar(&output, "output", filepath.Join("bin", "images"), "directory to write the archives to")
	f.IntVar(&compression, "compression", gzip.DefaultCompression, "gzip level of the layers, 0 to 9; 0 leaves them plain, -1 is gzip's default")
	if err := c.MarkFlagRequired("tag"); err != nil {
		panic(err)
	}
	return c
}

// writeSBOMs writes, beside the image, what its binaries are made of.
func writeSBOMs(image images.Image, tag, output string, created time.Time) error {
	name := image.Labels["org.opencontainers.image.title"]
	for architecture, path := range image.Binaries {
		binary, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := images.WriteSBOM(&b, name, tag, binary, created); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(output, name+"_"+architecture+".cdx.json"), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sourceDate reads SOURCE_DATE_EPOCH: seconds since 1970, as reproducible-builds.org defines it.
func sourceDate(value string) (time.Time, error) {
	if value == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, but must be seconds since 1970: %w", value, err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
