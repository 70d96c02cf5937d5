package light

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// ReadyAnnotation on a pod makes it unready while its value is "false".
const ReadyAnnotation = "lab.clarion.dev/ready"

// pods plays the pods of a node. Its informer's one goroutine owns it.
type pods struct {
	Options
	client  kubernetes.Interface
	watcher kubernetes.Interface
	free    []*addresses // per family
	running map[types.UID]*pod
}

// pod is a pod that runs.
type pod struct {
	ips    []netip.Addr // empty on the host's network
	server *server
}

func newPods(o Options, client, watcher kubernetes.Interface) *pods {
	p := &pods{Options: o, client: client, watcher: watcher, running: map[types.UID]*pod{}}
	for _, prefix := range o.Pods {
		p.free = append(p.free, newAddresses(prefix))
	}
	return p
}

// run follows the pods that are bound to the node until ctx ends.
func (p *pods) run(ctx context.Context) error {
	mine := cache.NewListWatchFromClient(p.watcher.CoreV1().RESTClient(), "pods", metav1.NamespaceAll,
		fields.OneTermEqualSelector("spec.nodeName", p.Node))
	sync := func(o any) {
		if object, ok := o.(*corev1.Pod); ok {
			if err := p.sync(ctx, object); err != nil {
				log.Printf("pod %s/%s: %v", object.Namespace, object.Name, err)
			}
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: mine,
		ObjectType:    &corev1.Pod{},
		ResyncPeriod:  10 * time.Second, // tries again what failed
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    sync,
			UpdateFunc: func(_, o any) { sync(o) },
			DeleteFunc: func(o any) {
				if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				if object, ok := o.(*corev1.Pod); ok {
					p.end(object.UID)
				}
			},
		},
	})
	informer.Run(ctx.Done())
	for uid := range p.running {
		p.end(uid)
	}
	return nil
}

// sync makes of one pod what its object wants.
func (p *pods) sync(ctx context.Context, object *corev1.Pod) error {
	if object.DeletionTimestamp != nil {
		p.end(object.UID)
		now := int64(0)
		err := p.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now,
			Preconditions:      &metav1.Preconditions{UID: &object.UID},
		})
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil // it is gone, or another took its name
		}
		return err
	}
	ready := object.Annotations[ReadyAnnotation] != "false"
	running, begun := p.running[object.UID]
	// Not only ours: a pod of a node that seemed dead is marked unready.
	if begun && object.Status.Phase == corev1.PodRunning && isReady(object) == ready {
		return nil
	}
	if !begun {
		var err error
		if running, err = p.begin(object); err != nil {
			return err
		}
		p.running[object.UID] = running
	}
	patch, err := json.Marshal(map[string]any{"status": p.status(object, running, ready, metav1.Now())})
	if err != nil {
		return err
	}
	_, err = p.client.CoreV1().Pods(object.Namespace).Patch(ctx, object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

// isReady tells what a pod's object says.
func isReady(object *corev1.Pod) bool {
	for _, c := range object.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// begin gives a pod its addresses and starts its server.
func (p *pods) begin(object *corev1.Pod) (*pod, error) {
	if object.Spec.HostNetwork {
		return &pod{}, nil
	}
	running := &pod{ips: podIPs(object)}
	for i := range p.free {
		var err error
		if i < len(running.ips) { // a pod of our former life keeps what it had
			err = p.free[i].take(running.ips[i])
		} else {
			var ip netip.Addr
			ip, err = p.free[i].next()
			running.ips = append(running.ips, ip)
		}
		if err != nil {
			return nil, err
		}
	}
	var err error
	if running.server, err = serve(object, p.Node, running.ips); err != nil {
		p.release(running)
		return nil, fmt.Errorf("serve: %w", err)
	}
	return running, nil
}

func (p *pods) end(uid types.UID) {
	running, ok := p.running[uid]
	if !ok {
		return
	}
	delete(p.running, uid)
	if running.server != nil {
		running.server.close()
	}
	p.release(running)
}

func (p *pods) release(running *pod) {
	for i, ip := range running.ips {
		p.free[i].release(ip)
	}
}

// podIPs are the addresses that a pod's object has already.
func podIPs(object *corev1.Pod) []netip.Addr {
	var ips []netip.Addr
	for _, ip := range object.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			ips = append(ips, a)
		}
	}
	return ips
}

// status is that of a pod that runs.
func (p *pods) status(object *corev1.Pod, running *pod, ready bool, now metav1.Time) corev1.PodStatus {
	ips := running.ips
	if object.Spec.HostNetwork {
		ips = p.Addresses
	}
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, HostIP: p.Addresses[0].String(), PodIP: ips[0].String()}
	for _, a := range p.Addresses {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: a.String()})
	}
	for _, a := range ips {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: a.String()})
	}
	readiness := corev1.ConditionFalse
	if ready {
		readiness = corev1.ConditionTrue
	}
	for kind, status := range map[corev1.PodConditionType]corev1.ConditionStatus{
		corev1.PodInitialized:  corev1.ConditionTrue,
		corev1.PodScheduled:    corev1.ConditionTrue,
		corev1.ContainersReady: readiness,
		corev1.PodReady:        readiness,
	} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: now})
	}
	started := true
	for _, c := range object.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: ready, Started: &started,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return s
}
