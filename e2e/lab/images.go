package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// imageDir keeps the archives that were loaded, for nodes that are off now.
func (l *Lab) imageDir() string { return filepath.Join(l.Dir(), "images") }

// LoadImage puts the images of archives (OCI layouts or docker's, in a tar
// file) on every node. There is no registry: pods refer to them by their names,
// e.g. localhost/clarion-speaker:dev, and pull policy IfNotPresent or Never.
func (l *Lab) LoadImage(ctx context.Context, archives ...string) error {
	for _, archive := range archives {
		if err := l.keepImage(archive); err != nil {
			return fmt.Errorf("load image: %w", err)
		}
	}
	if l.Options.Light {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range l.Nodes() {
		if !n.Machine().Alive() {
			continue // it gets them when its power comes on
		}
		g.Go(func() error {
			for _, archive := range archives {
				if err := n.importImage(ctx, archive); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// keepImage copies an archive into the lab, without using space where it can.
func (l *Lab) keepImage(archive string) error {
	kept := filepath.Join(l.imageDir(), filepath.Base(archive))
	if filepath.Clean(archive) == kept {
		return nil
	}
	if err := os.Remove(kept); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if os.Link(archive, kept) == nil {
		return nil
	}
	from, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(kept)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// importImages gives the node every image that the lab has.
func (n *Node) importImages(ctx context.Context) error {
	archives, err := filepath.Glob(filepath.Join(n.lab.imageDir(), "*"))
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := n.importImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) importImage(ctx context.Context, archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	// By descriptor: the node need not see the file.
	cmd := n.Command(ctx, "ctr", "--namespace", "k8s.io", "images", "import", "-")
	cmd.Stdin = file
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("import %s on %s: %w", filepath.Base(archive), n.Name, err)
	}
	return nil
}
