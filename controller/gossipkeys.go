package controller

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The Secret with the keys that speakers encrypt their gossip with: base64 of 32 random bytes, one a line, the first
// of which is sent with. It ships empty, and the leader fills it.
const (
	gossipSecret   = "clarion-gossip"
	gossipKeys     = "keys"
	gossipKeyBytes = 32
)

// Pauses between looks at the Secret: it is small, and read by name.
const (
	gossipPause      = 30 * time.Second
	gossipErrorPause = 5 * time.Second
)

// keepGossipKeys sees to it that there are keys, until ctx ends. Keys that are there are never touched.
func (t *term) keepGossipKeys(ctx context.Context) {
	for {
		pause := gossipPause
		if err := t.fillGossipKeys(ctx); err != nil && ctx.Err() == nil {
			pause = gossipErrorPause
			t.log.Warn("can't see to the gossip keys: speakers wait for them", "secret", t.o.Namespace+"/"+gossipSecret, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (t *term) fillGossipKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var s corev1.Secret
	err := t.client.Get(ctx, types.NamespacedName{Namespace: t.o.Namespace, Name: gossipSecret}, &s)
	switch {
	case apierrors.IsNotFound(err):
		ctx, cancel, err := t.toWrite(ctx)
		if err != nil {
			return err
		}
		defer cancel()
		return t.client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: t.o.Namespace, Name: gossipSecret},
			Data:       map[string][]byte{gossipKeys: newGossipKey()},
		})
	case err != nil:
		return err
	case strings.TrimSpace(string(s.Data[gossipKeys])) != "":
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": s.UID, "resourceVersion": s.ResourceVersion},
		"data":     map[string][]byte{gossipKeys: newGossipKey()},
	})
	if err != nil {
		return fmt.Errorf("writing a key as JSON: %w", err)
	}
	ctx, cancel, err = t.toWrite(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = t.client.Patch(ctx, &s, client.RawPatch(types.MergePatchType, body))
	if apierrors.IsConflict(err) {
		return nil // somebody else has written to it: looked at next time
	}
	return err
}

func newGossipKey() []byte {
	key := make([]byte, gossipKeyBytes)
	rand.Read(key) // never fails
	return []byte(base64.StdEncoding.EncodeToString(key) + "\n")
}
