package light

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Name is what the process is called (its argv[0]); the next argument is a file
// with its Options as JSON.
const Name = "clarion-lab-light-kubelet"

// Options are what a node is.
type Options struct {
	// Node is its name.
	Node string
	// Kubeconfig has the node's own credentials.
	Kubeconfig string
	// Addresses are the node's, at most one of each family.
	Addresses []netip.Addr
	// Pods are the prefixes that pods get addresses from, at most one of each
	// family.
	Pods []netip.Prefix
	// LeaseSeconds is how long the node's Lease lasts; it is renewed four times
	// in that time.
	LeaseSeconds int32
	// StatusEvery is how often the node looks whether somebody declared it dead.
	StatusEvery time.Duration
}

// Main runs the light kubelet as a process of its own. It does not return.
func Main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	err := func() error {
		if len(os.Args) != 2 {
			return fmt.Errorf("usage: %s OPTIONS-FILE", Name)
		}
		content, err := os.ReadFile(os.Args[1])
		if err != nil {
			return err
		}
		var o Options
		if err := json.Unmarshal(content, &o); err != nil {
			return fmt.Errorf("read %s: %w", os.Args[1], err)
		}
		return Run(ctx, o)
	}()
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}

// Run is the light kubelet, until ctx ends.
func Run(ctx context.Context, o Options) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	// A watch lasts longer than any request may.
	config.Timeout = 0
	watcher, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	n := &node{Options: o, client: client}
	g.Go(func() error { return n.run(ctx) })
	g.Go(func() error { return newPods(o, client, watcher).run(ctx) })
	return g.Wait()
}
