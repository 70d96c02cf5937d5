// Package demo shows Clarion's main job to a person who watches: a Service gets
// an address, the LAN finds it, the node that answered dies, traffic goes on.
//
// Everything is real: Kubernetes with its kubelets and kube-proxies, the images
// and the manifest as shipped, ARP and TCP on a LAN of network namespaces. Every
// number printed was measured in this run.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab"
	"github.com/clarion-lb/clarion/e2e/stage"
)

// Options of a demo.
type Options struct {
	// Name of the lab it runs in.
	Name string
	// Nodes of the cluster, 3 by default.
	Nodes int
	// Keep leaves the lab up at the end.
	Keep bool
	// LabCommand is what a reader types to run the lab's command.
	LabCommand string
	// Out is where the show is.
	Out io.Writer
}

// Run runs the demo. Unless it is to be kept, the lab is gone when Run returns,
// whatever the result.
func Run(ctx context.Context, o Options) (err error) {
	d := &show{Options: o, begin: time.Now()}
	d.headline("A Kubernetes cluster on a LAN of its own")
	if !o.Keep {
		release, err := lab.Guard(o.Name)
		if err != nil {
			return err
		}
		defer release()
	}
	d.lab, err = lab.Create(ctx, lab.Options{Name: o.Name, Nodes: o.Nodes, Progress: d.progress})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.finish(context.WithoutCancel(ctx), err)) }()
	for _, scene := range []func(context.Context) error{
		d.install, d.service, d.request, d.owner, d.death, d.after,
	} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	return nil
}

// show is the demo while it runs.
type show struct {
	Options
	begin time.Time
	lab   *lab.Lab

	address netip.Addr
	node    *lab.Node // that answers for address
}

func (d *show) headline(text string) {
	fmt.Fprintf(d.Out, "\n%s\n", text)
}

// progress prints a line with the time since the demo began.
func (d *show) progress(line string) {
	fmt.Fprintf(d.Out, "%6.1fs  %s\n", time.Since(d.begin).Seconds(), line)
}

func (d *show) say(format string, args ...any) { d.progress(fmt.Sprintf(format, args...)) }

// quote prints what a command said, indented.
func (d *show) quote(command, said string) {
	fmt.Fprintf(d.Out, "         $ %s\n", command)
	for line := range strings.Lines(strings.TrimSpace(said)) {
		fmt.Fprintf(d.Out, "         %s\n", strings.TrimRight(line, "\n"))
	}
}

func (d *show) install(ctx context.Context) error {
	d.headline("Clarion, as shipped")
	if err := stage.Install(ctx, d.lab, d.progress); err != nil {
		return err
	}
	pods, err := d.lab.Kubectl(ctx, "-n", stage.Namespace, "get", "pods", "-o",
		"custom-columns=NAME:.metadata.name,NODE:.spec.nodeName,READY:.status.containerStatuses[0].ready")
	if err != nil {
		return err
	}
	d.quote("kubectl -n "+stage.Namespace+" get pods", pods)
	if err := stage.Announce(ctx, d.lab); err != nil {
		return err
	}
	d.say("pool lan: %s and %s, announced by layer 2", lab.PoolV4, lab.PoolV6)
	return nil
}

func (d *show) service(ctx context.Context) error {
	d.headline("A Service gets an address")
	if err := stage.Serve(ctx, d.lab, stage.Web{Name: "web", NoService: true}); err != nil {
		return err
	}
	d.say("Deployment web: 2 Pods are ready")
	created := time.Now()
	if err := d.lab.ApplyYAML(ctx, service); err != nil {
		return err
	}
	applied := time.Now()
	addresses, err := stage.Addresses(ctx, d.lab, "web")
	if err != nil {
		return err
	}
	assigned := time.Now()
	d.address = addresses[0]
	took := assigned.Sub(applied)
	if took < 10*time.Millisecond {
		d.say("Service web has %s: it was there when kubectl apply, which took %d ms, returned", d.address, applied.Sub(created).Milliseconds())
	} else {
		d.say("Service web has %s, %d ms after kubectl apply returned", d.address, took.Milliseconds())
	}
	if _, err := d.lab.Kubectl(ctx, "wait", "--for=condition=clarion.dev/Announced", "service/web", "--timeout=30s"); err != nil {
		return err
	}
	out, err := d.lab.Kubectl(ctx, "get", "service", "web", "-o",
		`jsonpath={range .status.conditions[*]}{.type}={.status}  {.message}{"\n"}{end}`)
	if err != nil {
		return err
	}
	d.quote("kubectl get service web -o jsonpath=…conditions", out)
	return nil
}

const service = `apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`

func (d *show) request(ctx context.Context) error {
	d.headline("A client on the LAN")
	if err := d.firstAnswer(ctx); err != nil {
		return err
	}
	watch := stage.StartWatch(ctx, d.lab, d.address)
	select {
	case <-time.After(500 * time.Millisecond):
	case <-ctx.Done():
	}
	summaries, err := watch.Stop()
	if err != nil {
		return err
	}
	for _, s := range summaries {
		d.say("%d connections in half a second, %d failed, median %.1f ms", s.Attempts, s.Failures, float64(s.Median.Microseconds())/1000)
		for _, a := range s.Answers {
			d.say("  Pod %s on %s answered %d of them", a.Pod, a.Node, a.Count)
		}
	}
	return nil
}

// firstAnswer waits for kube-proxy, which learns of an address up to a second after the Service has it.
func (d *show) firstAnswer(ctx context.Context) error {
	begin := time.Now()
	for {
		answer, err := stage.Get(ctx, d.lab, d.address)
		if err == nil {
			d.say("first answer after %d ms; kube-proxy syncs once a second", time.Since(begin).Milliseconds())
			d.quote("curl http://"+d.address.String()+"/", answer)
			return nil
		}
		if time.Since(begin) > 20*time.Second {
			return fmt.Errorf("no answer from %s: %w", d.address, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (d *show) owner(ctx context.Context) error {
	answer, err := d.lab.WhoAnswers(ctx, d.address)
	if err != nil {
		return err
	}
	if answer.Node == nil {
		return fmt.Errorf("%s is at %s, which is no node's", d.address, answer.MAC)
	}
	d.node = answer.Node
	d.say("the client's neighbour table has %s at %s: that is %s", d.address, answer.MAC, d.node.Name)
	return nil
}

// death moves the Pods off the owner, cuts its link, and tells what a client saw.
func (d *show) death(ctx context.Context) error {
	d.headline("The node that answers dies")
	if err := stage.Evacuate(ctx, d.lab, d.node.Name, 2, "web"); err != nil {
		return err
	}
	d.say("Pods moved off %s: endpoints on a dead node are Kubernetes' own 40 s, and not what is shown here", d.node.Name)
	watch := stage.StartWatch(ctx, d.lab, d.address)
	wait := func(w time.Duration) {
		select {
		case <-time.After(w):
		case <-ctx.Done():
		}
	}
	wait(time.Second)
	if err := d.node.Cut(); err != nil {
		return errors.Join(err, func() error { _, err := watch.Stop(); return err }())
	}
	d.say("link of %s cut, while a client connects every 10 ms", d.node.Name)
	wait(4 * time.Second)
	summaries, err := watch.Stop()
	if err != nil {
		return err
	}
	for _, s := range summaries {
		if s.Failures == 0 {
			d.say("the client saw no gap in %d connections", s.Attempts)
			continue
		}
		d.say("the client saw a gap of %d ms: %d of %d connections failed", s.Gap.Milliseconds(), s.Failures, s.Attempts)
	}
	return nil
}

func (d *show) after(ctx context.Context) error {
	before := d.node.Name
	answer, err := d.lab.WhoAnswers(ctx, d.address)
	if err != nil {
		return err
	}
	if answer.Node == nil || answer.Node.Name == before {
		return fmt.Errorf("%s is at %s, as before %s was cut off", d.address, answer.MAC, before)
	}
	d.node = answer.Node
	d.say("the client's neighbour table has %s at %s: that is %s now", d.address, answer.MAC, d.node.Name)
	events, err := d.lab.Kubectl(ctx, "get", "events", "--field-selector=involvedObject.kind=Service,involvedObject.name=web",
		"--sort-by=.metadata.creationTimestamp", "-o", "custom-columns=REASON:.reason,NOTE:.message")
	if err != nil {
		return err
	}
	d.quote("kubectl get events --field-selector=involvedObject.name=web", events)
	return nil
}

// finish takes the lab down, or says how to use it.
func (d *show) finish(ctx context.Context, failed error) error {
	if d.Keep {
		d.headline("The lab is left up")
		c := d.LabCommand + " --name " + d.Name
		fmt.Fprintf(d.Out, "  %s kubectl get services -o wide\n  %s exec client -- ip neigh\n  %s heal NODE\n  %s status\n  %s down\n", c, c, c, c, c)
		return nil
	}
	if failed != nil {
		if kept, err := d.lab.KeepLogs(); err == nil {
			d.say("the logs are in %s", kept)
		}
	}
	if err := lab.Destroy(ctx, d.Name); err != nil {
		return err
	}
	d.headline(fmt.Sprintf("Done in %.0f s; the lab is gone.", time.Since(d.begin).Seconds()))
	return nil
}
