package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// gossipSecret has the keys that speakers encrypt their gossip with: base64, one to a line, the one to encrypt with first.
	gossipSecret = "clarion-gossip"
	gossipKeys   = "keys"
)

func (p *program) keys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Look after the keys that speakers encrypt their gossip with", Args: cobra.NoArgs}
	c.AddCommand(p.rotateKeys())
	return c
}

func (p *program) rotateKeys() *cobra.Command {
	wait := 30 * time.Second
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the gossip key without a gap",
		Long: `Replace the gossip key without a gap, in three steps: the speakers learn the new key, then encrypt with it, then forget the old one. Between two
steps every speaker must have seen the one before, which --wait gives it the time for.

Interrupted, it may be run again: what it left is understood by all speakers.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if wait < minWait {
				return fmt.Errorf("--wait=%s: give the speakers %s at least", wait, minWait)
			}
			objects, err := p.objects()
			if err != nil {
				return err
			}
			key := make([]byte, 32)
			if _, err := rand.Read(key); err != nil {
				return err
			}
			return p.rotate(c.Context(), objects, base64.StdEncoding.EncodeToString(key), func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(wait):
					return nil
				}
			})
		},
	}
	c.Flags().DurationVar(&wait, "wait", wait, "How long the speakers have to see each step.")
	return c
}

// minWait is about how long a change of a Secret may take to be seen by all.
const minWait = 5 * time.Second

var errNoKeys = errors.New("the Secret has no keys yet: the controller's leader fills it; there is nothing to rotate")

// rotate replaces all keys by one. wait gives the speakers time to see a step.
func (p *program) rotate(ctx context.Context, c client.Client, key string, wait func(context.Context) error) error {
	steps := []struct {
		say  string
		keys func(old []string) []string
	}{
		{"the speakers learn the new key", func(old []string) []string { return append(old[:len(old):len(old)], key) }},
		{"they encrypt with it", func(old []string) []string { return append([]string{key}, old[:len(old)-1]...) }},
		{"they forget the old one", func([]string) []string { return []string{key} }},
	}
	for i, step := range steps {
		if i > 0 {
			if err := wait(ctx); err != nil {
				return fmt.Errorf("%w: the Secret is left with both keys, which all speakers understand; run it again to finish", err)
			}
		}
		var secret corev1.Secret
		if err := c.Get(ctx, client.ObjectKey{Namespace: p.installedIn, Name: gossipSecret}, &secret); apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no Secret %s in namespace %s: Clarion is in another one (--clarion-namespace), or its controller, which makes it, does not run", gossipSecret, p.installedIn)
		} else if err != nil {
			return err
		}
		old := strings.Fields(string(secret.Data[gossipKeys]))
		if len(old) == 0 {
			return errNoKeys
		}
		secret.Data[gossipKeys] = []byte(strings.Join(step.keys(old), "\n") + "\n")
		// Update, so that two who rotate at once don't mix their steps: the second is refused.
		if err := c.Update(ctx, &secret); apierrors.IsConflict(err) {
			return fmt.Errorf("somebody else changes the keys: run it again when he has finished (%w)", err)
		} else if err != nil {
			return err
		}
		fmt.Fprintf(p.Out, "%d of %d: %s\n", i+1, len(steps), step.say)
	}
	return nil
}
