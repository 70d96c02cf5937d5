package speaker

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrl "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/speaker/layer2"
)

// libraryLogs are what the Kubernetes libraries log.
var libraryLogs = &logLines{}

func TestMain(m *testing.M) {
	h := slog.NewTextHandler(libraryLogs, nil)
	ctrl.SetLogger(logr.FromSlogHandler(h))
	klog.SetSlogLogger(slog.New(h))
	os.Exit(m.Run())
}

// rig is a real API server, and speakers as they run, apart from links: what they would answer for is kept.
type rig struct {
	*testing.T
	env      *envtest.Environment
	config   *rest.Config
	client   client.Client
	port     uint16
	speakers map[string]*testSpeaker
}

type testSpeaker struct {
	*paper
	paperBGP *paperBGP
	paperBFD *paperBFD
	logs     *logLines
	health   string
	stop     context.CancelFunc
	ended    chan error
}

// paper is an announcer that answers on paper.
type paper struct {
	mu          sync.Mutex
	desired     map[netip.Addr]bool
	applied     int
	reannounced int
	changed     chan struct{}
}

func newPaper() *paper { return &paper{desired: map[netip.Addr]bool{}, changed: make(chan struct{})} }

func (p *paper) Run(ctx context.Context) error { <-ctx.Done(); return nil }

func (p *paper) Apply(desired []layer2.Announcement) layer2.Changes {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.desired)
	return p.takeLocked(desired)
}

func (p *paper) Change(addresses []netip.Addr, desired []layer2.Announcement) layer2.Changes {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addresses {
		delete(p.desired, a)
	}
	return p.takeLocked(desired)
}

func (p *paper) takeLocked(desired []layer2.Announcement) layer2.Changes {
	p.applied++
	for _, a := range desired {
		if a.Standby {
			continue
		}
		p.desired[a.Address] = a.HardwareAddr.IsZero() // else another node's, which this one stands in for
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return layer2.Changes{}
}

func (p *paper) Reannounce(...netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reannounced++
}

func (p *paper) Links() ([]layer2.Link, <-chan struct{}) { return lanLinks, nil }

func (p *paper) State() (layer2.State, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var announcements []layer2.Announcement
	for a := range p.desired {
		announcements = append(announcements, layer2.Announcement{Address: a, Interfaces: []string{"eth0"}})
	}
	return answering(announcements...), p.changed
}

// SetKnown, Hold, Awake, Held, Turning and Hosts are of those who have a wire.
func (p *paper) SetKnown([]layer2.MAC)                           {}
func (p *paper) Hold()                                           {}
func (p *paper) Awake()                                          {}
func (p *paper) Held() bool                                      { return false }
func (p *paper) Turning(time.Duration) bool                      { return true }
func (p *paper) Hosts(string, layer2.Family, int) []layer2.Asker { return nil }

func (p *paper) Counters() layer2.Counters { return layer2.Counters{} }

// standsIn reports whether an address is answered with another node's MAC.
func (p *paper) standsIn(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	own, there := p.desired[netip.MustParseAddr(address)]
	return there && !own
}

func (p *paper) answers(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.desired[netip.MustParseAddr(address)]
}

// logLines keeps a log.
type logLines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logLines) count(substring string) int { return strings.Count(l.String(), substring) }

func newRig(t *testing.T, crds ...string) *rig {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: no API server to run against (make test sets it)")
	}
	r := &rig{T: t, env: &envtest.Environment{CRDDirectoryPaths: crds, ErrorIfCRDPathMissing: true}, speakers: map[string]*testSpeaker{}}
	var err error
	if r.config, err = r.env.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.env.Stop(); err != nil {
			t.Error(err)
		}
	})
	if r.client, err = client.New(r.config, client.Options{Scheme: scheme()}); err != nil {
		t.Fatal(err)
	}
	r.must(r.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "clarion-system"}}))
	at := netip.MustParseAddrPort(freeAddress(t))
	r.port = at.Port()
	return r
}

var crds, _ = filepath.Glob("../config/crd/clarion.dev_*.yaml")

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) secret(key string) {
	r.must(r.client.Create(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "clarion-system", Name: GossipSecret},
		Data: map[string][]byte{GossipKeys: []byte(base64.StdEncoding.EncodeToString([]byte(key)))}}))
}

const aKey = "0123456789abcdef0123456789abcdef"

func (r *rig) node(i int) string {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("node-", i)}}
	r.must(r.client.Create(r.Context(), n))
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprint("127.0.10.", i)}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	r.must(r.client.Status().Update(r.Context(), n))
	return n.Name
}

func (r *rig) advertisement() {
	r.must(r.client.Create(r.Context(), &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "everything"}}))
}

// service makes a Service that has addresses, as the controller leaves it, with an endpoint on no node.
func (r *rig) service(name string, addresses ...string) {
	o := newService(name, addresses...)
	o.UID = ""
	o.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	o.Spec.AllocateLoadBalancerNodePorts = ptr(false)
	status := o.Status
	r.must(r.client.Create(r.Context(), o))
	o.Status = status
	o.Status.Conditions[0].LastTransitionTime = metav1.Now()
	r.must(r.client.Status().Update(r.Context(), o))
	r.must(r.client.Create(r.Context(), &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)}}}}))
}

func (r *rig) start(name string, change func(*Options)) *testSpeaker {
	ctx, cancel := context.WithCancel(context.Background())
	s := &testSpeaker{paper: newPaper(), paperBGP: newPaperBGP(), paperBFD: newPaperBFD(), logs: &logLines{}, health: freeAddress(r.T), stop: cancel, ended: make(chan error, 1)}
	o := Options{
		Config: r.config, Namespace: "clarion-system", NodeName: name, Classes: allClasses, GossipPort: r.port,
		MetricsAddress: "0", HealthAddress: s.health, Version: "test",
		Log: slog.New(slog.NewTextHandler(s.logs, nil)), Registry: prometheus.NewRegistry(), announcer: s.paper,
		bgp: s.paperBGP, bfd: s.paperBFD,
		Stop: StopLeave,
	}
	if change != nil {
		change(&o)
	}
	go func() { s.ended <- Run(ctx, o) }()
	r.speakers[name] = s
	r.Cleanup(func() { r.stop(name) })
	return s
}

func (r *rig) stop(name string) {
	s := r.speakers[name]
	if s == nil {
		return
	}
	delete(r.speakers, name)
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			r.Errorf("%s ended: %v\n%s", name, err, s.logs)
		}
	case <-time.After(10 * time.Second):
		r.Errorf("%s does not end:\n%s", name, s.logs)
	}
}

func (r *rig) eventually(what string, within time.Duration, holds func() bool) time.Duration {
	r.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > within {
			for name, s := range r.speakers {
				r.Logf("%s: readyz %s, logged:\n%s", name, get("http://"+s.health+"/readyz"), s.logs)
			}
			r.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin)
}

func (r *rig) allReady() bool {
	for _, s := range r.speakers {
		if get("http://"+s.health+"/readyz") != "200 ok" {
			return false
		}
	}
	return true
}

func (r *rig) answerers(address string) []string {
	var names []string
	for name, s := range r.speakers {
		if s.answers(address) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r *rig) said(service string) string {
	var s corev1.Service
	if err := r.client.Get(r.Context(), client.ObjectKey{Namespace: "default", Name: service}, &s); err != nil {
		return err.Error()
	}
	c := meta.FindStatusCondition(s.Status.Conditions, string(v1beta1.ConditionAnnounced))
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

// cable lies between speakers and the API server, and can be cut.
type cable struct {
	net.Listener
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newCable(t *testing.T, host string) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l}
	t.Cleanup(func() { l.Close(); c.cut() })
	_, to, found := strings.Cut(host, "://")
	if !found {
		to = host
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			if far, err := net.Dial("tcp", strings.Trim(to, "/")); err == nil && c.add(near, far) {
				go func() { io.Copy(near, far); near.Close() }() //nolint:errcheck
				go func() { io.Copy(far, near); far.Close() }()  //nolint:errcheck
			} else {
				near.Close()
			}
		}
	}()
	return c
}

func (c *cable) add(conns ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conns...)
	return !c.isCut
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = false
}

func TestTheWholeSpeaker(t *testing.T) {
	r := newRig(t, crds...)
	for i := range 3 {
		r.start(r.node(i+1), nil)
	}
	r.advertisement()

	// Without a key they wait, and say so once.
	one := r.speakers["node-1"]
	r.eventually("it says what it waits for", 20*time.Second, func() bool { return one.logs.count("clarion-gossip has no keys") == 1 })
	if got := get("http://" + one.health + "/readyz"); !strings.Contains(got, "503 waiting for gossip: Secret clarion-system/clarion-gossip has no keys") {
		t.Errorf("readyz: %s", got)
	}
	r.service("early", "192.0.2.9")
	time.Sleep(500 * time.Millisecond)
	if got := r.answerers("192.0.2.9"); len(got) > 0 {
		t.Errorf("answered by %q before they can talk", got)
	}
	r.secret(aKey)
	t.Logf("ready %v after the key came", r.eventually("all ready", 20*time.Second, r.allReady))
	r.eventually("early is announced", 5*time.Second, func() bool { return len(r.answerers("192.0.2.9")) == 1 })

	// A Service gets its address.
	begin := time.Now()
	r.service("web", "192.0.2.1")
	r.eventually("web is announced by one", 5*time.Second, func() bool { return len(r.answerers("192.0.2.1")) == 1 })
	announced := time.Since(begin)
	r.eventually("web says so", 5*time.Second, func() bool { return r.said("web") == "True Announced" })
	t.Logf("announced after %v, said after %v (two writes of ours are in that)", announced, time.Since(begin))
	owner := r.answerers("192.0.2.1")[0]
	r.eventually("an event says from where", 5*time.Second, func() bool {
		var events eventsv1.EventList
		r.must(r.client.List(t.Context(), &events, client.InNamespace("default")))
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == "web" && e.Reason == "Announced" && e.Note == "192.0.2.1 is announced from node "+owner
		})
	})
	r.eventually("the Speaker objects tell", 5*time.Second, func() bool {
		var speakers v1beta1.SpeakerList
		r.must(r.client.List(t.Context(), &speakers))
		addresses := int32(0)
		for _, s := range speakers.Items {
			if !meta.IsStatusConditionTrue(s.Status.Conditions, "Ready") || s.Status.Membership == nil || s.Status.Membership.Alive != 3 ||
				s.Status.Layer2 == nil || len(s.OwnerReferences) != 1 {
				return false
			}
			addresses += s.Status.Layer2.AddressesOwned
		}
		return len(speakers.Items) == 3 && addresses == 2
	})

	// The condition follows the truth.
	var slice discoveryv1.EndpointSlice
	r.must(r.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "web-1"}, &slice))
	slice.Endpoints[0].Conditions.Ready = ptr(false)
	r.must(r.client.Update(t.Context(), &slice))
	r.eventually("web says why not", 5*time.Second, func() bool { return r.said("web") == "False NoEndpoint" && len(r.answerers("192.0.2.1")) == 0 })
	slice.Endpoints[0].Conditions.Ready = ptr(true)
	r.must(r.client.Update(t.Context(), &slice))
	r.eventually("web is announced again", 5*time.Second, func() bool { return r.said("web") == "True Announced" && len(r.answerers("192.0.2.1")) == 1 })

	// A planned stop: somebody else answers before the one that stops has ceased to.
	owner = r.answerers("192.0.2.1")[0]
	silent := make(chan time.Duration, 1)
	leaver := r.speakers[owner]
	watching, done := context.WithCancel(t.Context())
	all := []*testSpeaker{r.speakers["node-1"], r.speakers["node-2"], r.speakers["node-3"]}
	go func() {
		var longest time.Duration
		for last := time.Now(); watching.Err() == nil; time.Sleep(time.Millisecond) {
			if slices.ContainsFunc(all, func(s *testSpeaker) bool { return s.answers("192.0.2.1") && !(s == leaver && len(s.ended) > 0) }) {
				last = time.Now()
			}
			longest = max(longest, time.Since(last))
		}
		silent <- longest
	}()
	begin = time.Now()
	leaver.stop()
	delete(r.speakers, owner)
	t.Logf("taken over after %v", r.eventually("taken over", 2*time.Second, func() bool { return len(r.answerers("192.0.2.1")) == 1 }))
	if err := <-leaver.ended; err != nil {
		t.Errorf("the leaver ended with %v", err)
	}
	t.Logf("the leaver ended after %v", time.Since(begin))
	done()
	if longest := <-silent; longest > 100*time.Millisecond {
		t.Errorf("nobody answered for %v", longest)
	}
	if got := r.said("web"); got != "True Announced" {
		t.Errorf("web says %q", got)
	}
}

// A speaker that restarts keeps what it has: another answers in its name until it is back.
func TestARestartMovesNothing(t *testing.T) {
	r := newRig(t, crds...)
	r.secret(aKey)
	r.advertisement()
	restarts := func(o *Options) { o.Stop = StopAuto }
	for i := range 3 {
		r.start(r.node(i+1), restarts)
	}
	r.eventually("all ready", 20*time.Second, r.allReady)
	r.service("web", "192.0.2.1")
	r.eventually("announced", 5*time.Second, func() bool { return len(r.answerers("192.0.2.1")) == 1 })
	time.Sleep(2 * time.Second) // deputies are known after a moment
	owner := r.answerers("192.0.2.1")[0]
	r.stop(owner)
	standsIn := func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(r.speakers)), func(s *testSpeaker) bool { return s.standsIn("192.0.2.1") })
	}
	r.eventually("another stands in", time.Second, standsIn)
	time.Sleep(3 * time.Second)
	if got := r.answerers("192.0.2.1"); len(got) > 0 || !standsIn() {
		t.Errorf("moved to %q", got)
	}
	r.start(owner, restarts)
	r.eventually("the owner answers again, and nobody in its name", 10*time.Second, func() bool {
		return slices.Equal(r.answerers("192.0.2.1"), []string{owner}) && !standsIn()
	})
	time.Sleep(2 * time.Second)
	if got := r.answerers("192.0.2.1"); !slices.Equal(got, []string{owner}) {
		t.Errorf("in the end at %q", got)
	}
	var events eventsv1.EventList
	r.must(r.client.List(t.Context(), &events, client.InNamespace("default")))
	told := 0
	for _, e := range events.Items {
		if e.Regarding.Name == "web" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d events on the Service, want the one of the first announcement", told)
	}
}

func TestWithoutTheAPIServer(t *testing.T) {
	r := newRig(t, crds...)
	r.secret(aKey)
	r.advertisement()
	cable := newCable(t, r.config.Host)
	for i := range 3 {
		r.start(r.node(i+1), func(o *Options) {
			o.Config = rest.CopyConfig(r.config)
			o.Config.Host = "https://" + cable.Addr().String()
		})
	}
	r.eventually("all ready", 20*time.Second, r.allReady)
	for i := range 6 {
		r.service(fmt.Sprint("web-", i), fmt.Sprint("192.0.2.", i+1))
	}
	answered := func() bool {
		for i := range 6 {
			if len(r.answerers(fmt.Sprint("192.0.2.", i+1))) != 1 {
				return false
			}
		}
		return true
	}
	r.eventually("all announced", 10*time.Second, answered)

	cable.cut()
	time.Sleep(5 * time.Second)
	if !answered() {
		t.Error("without the API server not all is answered")
	}
	gone := r.answerers("192.0.2.1")[0]
	r.stop(gone)
	t.Logf("taken over after %v", r.eventually("taken over without the API server", 2*time.Second, answered))
	time.Sleep(15 * time.Second)
	logs := map[string]*logLines{"a library": libraryLogs}
	for name, s := range r.speakers {
		logs[name] = s.logs
	}
	for name, log := range logs {
		// The program's logger limits lines by their message: it can if the messages do not vary.
		messages := map[string]bool{}
		for _, line := range strings.Split(log.String(), "\n") {
			if _, after, found := strings.Cut(line, "msg="); found {
				message, _, _ := strings.Cut(after, "=")
				messages[message] = true
			}
		}
		if len(messages) > 10 {
			t.Errorf("%s logged %d messages:\n%s", name, len(messages), log)
		}
	}
	for name, s := range r.speakers {
		if get("http://"+s.health+"/readyz") != "200 ok" {
			t.Errorf("%s is not ready any more", name)
		}
	}

	cable.plug()
	r.service("after", "192.0.2.100")
	r.eventually("new Services are announced", 60*time.Second, func() bool {
		return len(r.answerers("192.0.2.100")) == 1 && r.said("after") == "True Announced"
	})
}

func TestCRDsThatComeLater(t *testing.T) {
	r := newRig(t)
	r.secret(aKey)
	s := r.start(r.node(1), nil)
	r.eventually("it says what is missing", 10*time.Second, func() bool {
		return s.logs.count("waiting for custom resource definitions") == 1 && s.logs.count("no kind IPAddressPool L2Advertisement Speaker") == 1
	})
	time.Sleep(5 * time.Second)
	if n := s.logs.count("waiting for"); n != 1 {
		t.Errorf("said %d times:\n%s", n, s.logs)
	}
	if got := get("http://" + s.health + "/healthz"); got != "200 ok" {
		t.Errorf("healthz: %s", got)
	}
	_, err := envtest.InstallCRDs(r.config, envtest.CRDInstallOptions{Paths: crds})
	r.must(err)
	r.eventually("ready", 30*time.Second, r.allReady)
}

// Whoever observes sees all of it, and writes and announces nothing; the others do not count on it.
func TestObserve(t *testing.T) {
	r := newRig(t, crds...)
	r.secret(aKey)
	r.advertisement()
	watcher := r.start(r.node(1), func(o *Options) { o.Observe = true })
	r.node(2)
	r.eventually("ready", 20*time.Second, r.allReady)
	r.service("web", "192.0.2.1")
	r.eventually("it says what it would do", 20*time.Second, func() bool { return watcher.logs.count("would announce") == 1 })
	time.Sleep(2 * time.Second)
	if watcher.applied > 0 || r.said("web") != "" {
		t.Errorf("applied %d times, and says %q", watcher.applied, r.said("web"))
	}
	var speakers v1beta1.SpeakerList
	r.must(r.client.List(t.Context(), &speakers))
	var events eventsv1.EventList
	r.must(r.client.List(t.Context(), &events))
	ours := slices.DeleteFunc(events.Items, func(e eventsv1.Event) bool { return e.ReportingController != crierController })
	if len(speakers.Items)+len(ours) > 0 {
		t.Errorf("wrote %d Speakers, events %+v", len(speakers.Items), ours)
	}
	r.start("node-2", nil)
	r.eventually("the active one announces alone", 20*time.Second, func() bool {
		return slices.Equal(r.answerers("192.0.2.1"), []string{"node-2"}) && r.said("web") == "True Announced"
	})
}
