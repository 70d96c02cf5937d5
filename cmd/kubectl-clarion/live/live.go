// Package live asks running speakers what they see, on their loopback ports, by port-forward: what changes with every owner of an
// address is in no object (see speaker/inspect). Who may not list Pods in Clarion's namespace, or not forward ports
// to them, is told so by the API server, and goes on without.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/speaker/inspect"
)

// Speakers are those that run, by node.
type Speakers struct {
	config *rest.Config
	posts  *kubernetes.Clientset
	pods   map[string]corev1.Pod
}

// Labels of speakers' Pods.
var podLabels = client.MatchingLabels{"app.kubernetes.io/name": "clarion", "app.kubernetes.io/component": "speaker"}

const (
	healthPort        = "health"
	defaultHealthPort = 7958
	// answerWithin is how long one speaker has to answer.
	answerWithin = 10 * time.Second
	// atOnce is how many speakers are asked at the same time.
	atOnce = 8
)

// ErrNone is that no speaker runs.
var ErrNone = errors.New("no speaker runs")

// Find lists the speakers in Clarion's namespace.
func Find(ctx context.Context, config *rest.Config, c client.Client, namespace string) (*Speakers, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace), podLabels); err != nil {
		return nil, err
	}
	s := &Speakers{config: config, pods: map[string]corev1.Pod{}}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil && p.Spec.NodeName != "" {
			s.pods[p.Spec.NodeName] = p
		}
	}
	if len(s.pods) == 0 {
		return nil, fmt.Errorf("%w in namespace %s", ErrNone, namespace)
	}
	var err error
	s.posts, err = kubernetes.NewForConfig(config)
	return s, err
}

// Nodes returns the nodes whose speakers run, those that are ready first.
func (s *Speakers) Nodes() []string {
	ready := func(name string) bool {
		p := s.pods[name]
		return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
	}
	names := slices.Sorted(maps.Keys(s.pods))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case ready(a) == ready(b):
			return 0
		case ready(a):
			return -1
		}
		return 1
	})
	return names
}

// Inspect asks the speaker of a node.
func (s *Speakers) Inspect(ctx context.Context, node string, q inspect.Question) (r inspect.Report, err error) {
	values := url.Values{}
	if q.Service != "" {
		values.Set("service", q.Service)
	}
	if q.Address.IsValid() {
		values.Set("address", q.Address.String())
	}
	err = s.get(ctx, node, "/inspect?"+values.Encode(), &r)
	return r, err
}

// Simulate asks the speaker of a node what would become of another node's addresses.
func (s *Speakers) Simulate(ctx context.Context, by string, e inspect.Event, node string) (out inspect.Simulation, err error) {
	err = s.get(ctx, by, "/simulate?"+url.Values{string(e): {node}}.Encode(), &out)
	return out, err
}

// InspectAll asks all speakers of themselves and their hosts. Those that do not answer are in failed, with why.
func (s *Speakers) InspectAll(ctx context.Context) (reports map[string]inspect.Report, failed map[string]error) {
	reports, failed = map[string]inspect.Report{}, map[string]error{}
	var (
		mu   sync.Mutex
		wait sync.WaitGroup
	)
	slots := make(chan struct{}, atOnce)
	for node := range s.pods {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r, err := s.Inspect(ctx, node, inspect.Question{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[node] = err
			} else {
				reports[node] = r
			}
		})
	}
	wait.Wait()
	return reports, failed
}

// get asks a speaker by a port-forward of its own.
func (s *Speakers) get(ctx context.Context, node, query string, into any) error {
	pod, there := s.pods[node]
	if !there {
		return fmt.Errorf("%w on node %s", ErrNone, node)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	port, end, err := s.forward(ctx, pod)
	if err != nil {
		return fmt.Errorf("reach the speaker of node %s: %w", node, err)
	}
	defer end()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, query), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("ask the speaker of node %s: %w", node, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		if answer.StatusCode == http.StatusNotFound && strings.HasPrefix(string(text), "404 page not found") {
			return fmt.Errorf("the speaker of node %s is of a version that shows nothing", node)
		}
		err := fmt.Errorf("the speaker of node %s says: %s", node, strings.TrimSpace(string(text)))
		if answer.StatusCode == http.StatusNotFound {
			err = fmt.Errorf("%w: %w", inspect.ErrUnknown, err)
		}
		return err
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// forward forwards a local port to the loopback port of a speaker.
func (s *Speakers) forward(ctx context.Context, pod corev1.Pod) (local uint16, end func(), err error) {
	target := s.posts.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(s.config)
	if err != nil {
		return 0, nil, err
	}
	// As kubectl does: by WebSocket, and where a proxy or an old API server does not know that, by SPDY.
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, s.config)
	if err != nil {
		return 0, nil, err
	}
	dialer := portforward.NewFallbackDialerForStreaming(websocket, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target),
		func(err error) bool { return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) })
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", portOf(pod))}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case err := <-ended:
		return 0, nil, err
	case <-ctx.Done():
		close(stop)
		return 0, nil, ctx.Err()
	case <-ready:
	}
	end = func() { close(stop); <-ended }
	ports, err := forwarder.GetPorts()
	if err != nil {
		end()
		return 0, nil, err
	}
	return ports[0].Local, end, nil
}

// portOf returns the port on which the speaker of a Pod shows itself.
func portOf(pod corev1.Pod) int32 {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == healthPort {
				return p.ContainerPort
			}
		}
	}
	return defaultHealthPort
}
