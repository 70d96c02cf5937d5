package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Lab is a cluster and its LAN. Its methods may be called from anywhere; two
// that work on the same host at a time get what they deserve.
type Lab struct {
	Name string
	// Options are what it was made with.
	Options Options
	// Parts are the programs it runs.
	Parts supply.Parts

	progress supply.Progress
}

// Base is the directory that has a directory for each lab of this machine.
func Base() string {
	if dir := os.Getenv("CLARION_LAB_DIR"); dir != "" {
		return dir
	}
	return "/var/lib/clarion-lab"
}

func labDir(name string) string { return filepath.Join(Base(), name) }

// Dir is the lab's directory: everything about it is there.
func (l *Lab) Dir() string { return labDir(l.Name) }

func (l *Lab) hostsDir() string { return filepath.Join(l.Dir(), "hosts") }
func (l *Lab) logDir() string   { return filepath.Join(l.Dir(), "logs") }
func (l *Lab) pkiDir() string   { return filepath.Join(l.Dir(), "pki") }

// Create makes a lab and returns when all its nodes are ready. It refuses a
// name that is taken. What it made before it failed is gone when it returns.
func Create(ctx context.Context, o Options) (*Lab, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkRoom(o); err != nil {
		return nil, err
	}
	parts, err := supply.Get(ctx, o.Progress)
	if err != nil {
		return nil, err
	}
	unlock, err := lockName(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	l := &Lab{Name: o.Name, Options: o, Parts: parts, progress: o.Progress}
	if err := os.MkdirAll(Base(), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.Dir(), 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("lab %s is there already; take it down first", l.Name)
	} else if err != nil {
		return nil, err
	}
	if err := l.build(ctx); err != nil {
		if ctx.Err() == nil && !o.Keep {
			if kept, keepErr := l.KeepLogs(); keepErr == nil {
				err = fmt.Errorf("%w (the logs of every process are in %s)", err, kept)
			}
		}
		if o.Keep {
			return nil, fmt.Errorf("%w; what there is of lab %s is left up", err, l.Name)
		}
		return nil, errors.Join(err, destroy(l.Name))
	}
	return l, nil
}

// Open returns a lab that another process made.
func Open(name string) (*Lab, error) {
	l := &Lab{}
	if err := readJSON(filepath.Join(labDir(name), "lab.json"), l); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no lab %s; see `lab up`", name)
	} else if err != nil {
		return nil, err
	}
	return l, nil
}

// List names the labs of this machine.
func List() ([]string, error) {
	entries, err := os.ReadDir(Base())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// build brings everything up at once: kubelets ask until the API server answers.
func (l *Lab) build(ctx context.Context) error {
	begin := time.Now()
	for _, dir := range []string{l.hostsDir(), l.logDir(), l.imageDir()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(l.Dir(), "lab.json"), l); err != nil {
		return err
	}
	if err := l.keepImage(l.Parts.Pause); err != nil {
		return err
	}
	if err := l.buildFabric(ctx); err != nil {
		return err
	}
	if err := l.AddSegment(lanName); err != nil {
		return err
	}
	certificates, err := l.issueCertificates()
	if err != nil {
		return err
	}

	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.addControlPlane(gctx, certificates) })
	g.Go(func() error { return l.addClient(gctx) })
	for i := 1; i <= l.Options.Nodes; i++ {
		g.Go(func() error { return l.addNode(gctx, certificates, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	l.say("machines up, API server ready (%s)", since(begin))
	if err := l.WaitNodesReady(ctx); err != nil {
		return err
	}
	l.say("%d nodes ready (%s)", l.Options.Nodes, since(begin))
	return nil
}

// addClient adds the host of somebody who uses Services.
func (l *Lab) addClient(ctx context.Context) error {
	_, err := l.AddHost(ctx, HostSpec{
		Name:       clientName,
		Interfaces: []Interface{{Segment: lanName, Addresses: lanAddresses(clientPlace)}},
	})
	return err
}

// Host returns the host of that name.
func (l *Lab) Host(name string) *Host { return &Host{lab: l, Name: name} }

// Hosts returns all hosts in the order of their addresses, nodes and switches
// included.
func (l *Lab) Hosts() ([]*Host, error) {
	entries, err := os.ReadDir(l.hostsDir())
	if err != nil {
		return nil, err
	}
	var hosts []*Host
	for _, e := range entries {
		hosts = append(hosts, l.Host(e.Name()))
	}
	slices.SortStableFunc(hosts, func(a, b *Host) int { return a.IPv4().Compare(b.IPv4()) })
	return hosts, nil
}

// Client is the host on the LAN that is not part of the cluster.
func (l *Lab) Client() *Host { return l.Host(clientName) }

// ControlPlane is the host of etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler, which are its processes' names.
func (l *Lab) ControlPlane() *Host { return l.Host(controlName) }

// Node returns the node of that name: node1, node2, …
func (l *Lab) Node(name string) *Node { return &Node{Host: l.Host(name)} }

// Nodes returns all nodes in order.
func (l *Lab) Nodes() []*Node {
	var nodes []*Node
	for i := 1; i <= l.Options.Nodes; i++ {
		nodes = append(nodes, l.Node(nodeName(i)))
	}
	return nodes
}

// FindHost returns the host of that name if there is one.
func (l *Lab) FindHost(name string) (*Host, error) {
	hosts, err := l.Hosts()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, h := range hosts {
		if h.Name == name {
			return h, nil
		}
		names = append(names, h.Name)
	}
	return nil, fmt.Errorf("no host %q; there are %s", name, strings.Join(names, ", "))
}

// FindNode returns the node of that name if there is one.
func (l *Lab) FindNode(name string) (*Node, error) {
	for _, n := range l.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q; there are %s to %s", name, nodeName(1), nodeName(l.Options.Nodes))
}

// env is the environment of everything that runs in the lab.
func (l *Lab) env() []string {
	return []string{"PATH=" + l.Parts.Path(), "HOME=/root", "KUBECONFIG=" + l.Kubeconfig(), "TERM=" + os.Getenv("TERM")}
}

func (l *Lab) say(format string, args ...any) {
	if l.progress != nil {
		l.progress(fmt.Sprintf(format, args...))
	}
}

func since(begin time.Time) time.Duration {
	return time.Since(begin).Round(100 * time.Millisecond)
}
