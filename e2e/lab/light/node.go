package light

import (
	"context"
	"fmt"
	"log"
	"runtime"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// node keeps the Node object and its Lease. One goroutine owns it.
type node struct {
	Options
	client kubernetes.Interface

	uid        types.UID
	lease      *coordinationv1.Lease
	unrecorded bool // the last try failed: the API server is away, which is said once
}

// run registers the node and keeps it alive until ctx ends.
func (n *node) run(ctx context.Context) error {
	renew := time.NewTicker(time.Duration(n.LeaseSeconds) * time.Second / 4)
	defer renew.Stop()
	status := time.NewTicker(n.StatusEvery)
	defer status.Stop()
	// Quick tries at first: the API server may just be starting.
	for n.uid == "" {
		if n.record("register", n.register(ctx)) {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
	n.record("renew lease", n.renew(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-renew.C:
			n.record("renew lease", n.renew(ctx))
		case <-status.C:
			n.record("report status", n.report(ctx))
		}
	}
}

// record logs the first of a row of failures, and the end of the row.
func (n *node) record(what string, err error) bool {
	if failed := err != nil; failed != n.unrecorded {
		n.unrecorded = failed
		log.Printf("%s: %v", what, err)
	}
	return err == nil
}

// register makes the Node or finds it, and reports it ready.
func (n *node) register(ctx context.Context) error {
	made, err := n.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.Node,
		Labels: map[string]string{
			corev1.LabelHostname:   n.Node,
			corev1.LabelOSStable:   "linux",
			corev1.LabelArchStable: runtime.GOARCH,
		},
	}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = n.client.CoreV1().Nodes().Get(ctx, n.Node, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	if err := n.writeStatus(ctx); err != nil {
		return err
	}
	n.uid = made.UID
	return nil
}

// report says that the node is ready when the object has it otherwise, as it
// does after the node was out of reach for a while.
func (n *node) report(ctx context.Context) error {
	now, err := n.client.CoreV1().Nodes().Get(ctx, n.Node, metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return n.register(ctx)
	}
	if err != nil {
		return err
	}
	for _, c := range now.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return n.writeStatus(ctx)
}

func (n *node) writeStatus(ctx context.Context) error {
	// Not a patch: it would merge addresses by their type, of which there are two.
	now, err := n.client.CoreV1().Nodes().Get(ctx, n.Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now.Status = n.status(metav1.Now())
	_, err = n.client.CoreV1().Nodes().UpdateStatus(ctx, now, metav1.UpdateOptions{})
	return err
}

func (n *node) status(now metav1.Time) corev1.NodeStatus {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	s := corev1.NodeStatus{
		Capacity:    room,
		Allocatable: room,
		Addresses:   []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Node}},
		NodeInfo: corev1.NodeSystemInfo{
			OperatingSystem: "linux",
			Architecture:    runtime.GOARCH,
			KubeletVersion:  "light",
		},
	}
	for _, a := range n.Addresses {
		s.Addresses = append(s.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a.String()})
	}
	for _, c := range []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
	}{
		{corev1.NodeMemoryPressure, corev1.ConditionFalse},
		{corev1.NodeDiskPressure, corev1.ConditionFalse},
		{corev1.NodePIDPressure, corev1.ConditionFalse},
		{corev1.NodeReady, corev1.ConditionTrue},
	} {
		s.Conditions = append(s.Conditions, corev1.NodeCondition{
			Type: c.kind, Status: c.status, Reason: "LightKubelet", Message: "the lab says so",
			LastHeartbeatTime: now, LastTransitionTime: now,
		})
	}
	return s
}

// renew renews the Lease, and makes it when there is none.
func (n *node) renew(ctx context.Context) error {
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	var err error
	if n.lease == nil {
		n.lease, err = leases.Get(ctx, n.Node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			n.lease, err = leases.Create(ctx, &coordinationv1.Lease{
				ObjectMeta: metav1.ObjectMeta{
					Name:            n.Node,
					OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Node, UID: n.uid}},
				},
				Spec: coordinationv1.LeaseSpec{HolderIdentity: &n.Node, LeaseDurationSeconds: &n.LeaseSeconds, RenewTime: &now},
			}, metav1.CreateOptions{})
		}
		if err != nil {
			n.lease = nil
			return fmt.Errorf("get lease: %w", err)
		}
	}
	next := n.lease.DeepCopy()
	next.Spec.RenewTime = &now
	if n.lease, err = leases.Update(ctx, next, metav1.UpdateOptions{}); err != nil {
		n.lease = nil // somebody else touched it, or it is gone: look again
	}
	return err
}
