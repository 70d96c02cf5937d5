package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// poolVersion is what of a pool matters to the ledger, short of reading it.
type poolVersion struct {
	uid        types.UID
	generation int64
	deleting   bool
	releases   bool
}

func versionOf(p *clarion.IPAddressPool) poolVersion {
	return poolVersion{p.UID, p.Generation, p.DeletionTimestamp != nil, p.Annotations[clarion.AnnotationReleaseOrphans] == "true"}
}

// poolsAlike reports whether two versions of a pool are the same to the ledger, and to what selects pools by labels.
func poolsAlike(before, after any) bool {
	b, ok1 := before.(*clarion.IPAddressPool)
	a, ok2 := after.(*clarion.IPAddressPool)
	return ok1 && ok2 && versionOf(b) == versionOf(a) && maps.Equal(b.Labels, a.Labels)
}

// poolOf reads a pool as the ledger wants it.
func poolOf(p *clarion.IPAddressPool) ipam.Pool {
	out := ipam.Pool{
		Name:           p.Name,
		Created:        p.CreationTimestamp.Time,
		AvoidBuggyIPs:  p.Spec.AvoidBuggyIPs,
		AutoAssign:     p.Spec.AutoAssign == nil || *p.Spec.AutoAssign,
		Random:         p.Spec.Strategy == clarion.StrategyRandom,
		Deleting:       p.DeletionTimestamp != nil,
		ReleaseOrphans: p.Annotations[clarion.AnnotationReleaseOrphans] == "true",
		ShareAcross:    p.Spec.Sharing == clarion.SharingCluster,
	}
	if p.Spec.ReuseDelay != nil {
		out.ReuseDelay = p.Spec.ReuseDelay.Duration
	}
	if q := p.Spec.Quota; q != nil && q.PerNamespace != nil {
		out.PerNamespace = int64(*q.PerNamespace)
	}
	ranges, err := clarion.ParsePool(&p.Spec)
	if a := p.Spec.ServiceAllocation; a != nil {
		audience, unreadable := a.Audience()
		if unreadable == nil { // a slip in the addresses does not let out whom the pool keeps from others
			out.For = &ipam.Audience{
				Priority:  a.Priority,
				Exclusive: a.Fallback == clarion.FallbackDenied,
				Namespace: audience.Namespace,
				Service:   audience.Service,
				Says:      saysOf(a),
			}
		}
		err = errors.Join(err, unreadable)
	}
	if err != nil {
		out.Invalid = strings.ReplaceAll(err.Error(), "\n", "; ")
		return out
	}
	out.Ranges, out.Exclude = ranges.Addresses, ranges.Exclude
	return out
}

// saysOf writes down whom a pool is for, such that equal ones are written alike.
func saysOf(a *clarion.ServiceAllocation) string {
	b, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// readPools has the ledger know the pools as they are now.
func (t *term) readPools(ctx context.Context) error {
	var list clarion.IPAddressPoolList
	if err := t.cache.List(ctx, &list); err != nil {
		return err
	}
	versions := map[string]poolVersion{}
	for i := range list.Items {
		versions[list.Items[i].Name] = versionOf(&list.Items[i])
	}
	if len(versions) > 0 && !t.barred.Load() && t.adopted.Load() {
		t.barLateWrites(ctx) // the first pool: from now on addresses are granted
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.poolGens != nil && maps.Equal(versions, t.poolGens) {
		return nil
	}
	first, none := t.poolGens == nil, len(t.poolGens) == 0
	t.poolGens = versions
	pools := make([]ipam.Pool, len(list.Items))
	for i := range list.Items {
		pools[i] = poolOf(&list.Items[i])
	}
	t.ledger.SetPools(pools)
	if first {
		return nil // everything is looked at after this
	}
	// A pool may now cover what a Service got from somebody else. The older Service comes first.
	if err := t.adoptCoveredLocked(ctx); err != nil {
		return err
	}
	t.wakeLocked()
	if none {
		t.enqueueServices(ctx) // nothing has been written so far
	}
	for _, o := range t.allObjects(ctx) {
		t.objects.Add(o)
	}
	return nil
}

// adoptCoveredLocked adopts what Services hold and a pool has come to cover.
func (t *term) adoptCoveredLocked(ctx context.Context) error {
	var services corev1.ServiceList
	if err := t.cache.List(ctx, &services); err != nil {
		return err
	}
	var all []*corev1.Service
	for i := range services.Items {
		s := &services.Items[i]
		known := t.known[keyOf(s)]
		if sideOf(s, t.o.Classes) == ours && len(s.Status.LoadBalancer.Ingress) > 0 &&
			(known == nil || !older(s.ResourceVersion, known.version)) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, olderFirst)
	t.ledger.Adopt(t.adoptions(all))
	return nil
}

// followPools reads the pools whenever one of them changed.
func (t *term) followPools(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.poolsSet:
			if err := t.readPools(ctx); err != nil && ctx.Err() == nil {
				t.log.Error("can't read the pools", "error", err)
			}
		}
	}
}

// How long after a look at a pool's status the next one may follow: for numbers that are a second old at most while
// they change now and then, and five while they change all the time, whatever the API server takes for a write.
const (
	poolPause     = 500 * time.Millisecond
	busyPoolPause = 2 * time.Second
	busyChanges   = 10 // a second
)

// pace is how a pool's status keeps up with its numbers.
type pace struct {
	looked  time.Time // when it was last compared with them
	changes int       // since then
}

// wait is for how long the next look is to wait. more says that more rests than the status tells of.
func (p pace) wait(now time.Time, more bool) time.Duration {
	since := now.Sub(p.looked)
	pause := poolPause
	switch {
	case more:
		pause = restPause
	case float64(p.changes) > busyChanges*max(1, since.Seconds()):
		pause = busyPoolPause
	}
	return pause - since
}

// reconcilePool writes what is to be said of a pool, and holds it by the finalizer while Services hold its addresses.
func (t *term) reconcilePool(ctx context.Context, name string) error {
	var p clarion.IPAddressPool
	err := t.cache.Get(ctx, types.NamespacedName{Name: name}, &p)
	if apierrors.IsNotFound(err) {
		t.mu.Lock()
		delete(t.paces, name)
		t.mu.Unlock()
		dropPoolMetrics(name)
		return nil
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	usage, _ := t.ledger.Usage(name)
	said := t.ledger.Condition(name)
	resting := t.ledger.Resting(name)
	read := t.poolGens[name] == versionOf(&p)
	pace := t.paces[name]
	t.mu.Unlock()
	if !read {
		t.pools.AddAfter(name, 20*time.Millisecond) // the ledger will have read it by then
		return nil
	}
	if t.o.Mode == Active {
		if written, err := t.holdPool(ctx, &p, usage.InUse()); written || err != nil {
			return err // written, it comes again by the cache, with the version that its status is to be written under
		}
	}
	now := t.o.Now()
	if wait := pace.wait(now, !restsAlike(restingStatus(resting), p.Status.Resting)); wait > 0 {
		t.pools.AddAfter(name, wait)
		return nil
	}
	t.looked(name, now, 0)
	setPoolMetrics(name, usage)
	if t.o.Mode == Observe {
		return nil
	}
	want := poolStatus(&p, usage, said, now)
	want.Resting = restingStatus(resting)
	patch, changed := statusPatch(&p, p.Status, want)
	if !changed {
		return nil
	}
	if err := t.patchStatus(ctx, "pool", &p, patch); err != nil {
		t.looked(name, pace.looked, 1) // a write in vain is not to cost it a pause
		return err
	}
	return nil
}

// looked notes when a pool's status was last compared with its numbers, and how many changes since then are known of.
func (t *term) looked(name string, at time.Time, changes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paces[name] = pace{at, changes}
}

// holdPool adds the finalizer to a pool whose addresses are in use, and takes it away when they are not any more. A
// pool that nobody uses can be deleted without us.
func (t *term) holdPool(ctx context.Context, p *clarion.IPAddressPool, inUse bool) (written bool, err error) {
	has := controllerutil.ContainsFinalizer(p, clarion.FinalizerAddressesInUse)
	if has == inUse || inUse && p.DeletionTimestamp != nil {
		return false, nil
	}
	finalizers := slices.DeleteFunc(slices.Clone(p.Finalizers), func(f string) bool { return f == clarion.FinalizerAddressesInUse })
	if inUse {
		finalizers = append(finalizers, clarion.FinalizerAddressesInUse)
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": p.UID, "resourceVersion": p.ResourceVersion, "finalizers": finalizers,
	}})
	if err != nil {
		return false, err
	}
	ctx, cancel, err := t.toWrite(ctx)
	if err != nil {
		return false, err
	}
	defer cancel()
	out := &clarion.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
	err = t.client.Patch(ctx, out, client.RawPatch(types.MergePatchType, body))
	countWrite("pool", err)
	if err != nil {
		return false, t.tellFailure(ctx, "pool", p.Name, err)
	}
	return true, nil
}

// tellFailure logs a write that failed, and returns its error.
func (t *term) tellFailure(ctx context.Context, kind, name string, err error) error {
	if ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		t.log.Warn("can't write an object's status", "kind", kind, "name", name, "error", err)
	}
	return err
}

// poolStatus is what a pool's status should be.
func poolStatus(p *clarion.IPAddressPool, u ipam.Usage, said ipam.Condition, now time.Time) clarion.IPAddressPoolStatus {
	want := *p.Status.DeepCopy()
	want.IPv4, want.IPv6, want.Usage = nil, nil, ""
	var parts []string
	for _, f := range []struct {
		of ipam.FamilyUsage
		to **clarion.FamilyUsage
	}{{u.IPv4, &want.IPv4}, {u.IPv6, &want.IPv6}} {
		if f.of.Capacity.IsZero() && f.of.Assigned == 0 {
			continue
		}
		*f.to = &clarion.FamilyUsage{
			Capacity:  f.of.Capacity.String(),
			Available: f.of.Available.String(),
			Assigned:  f.of.Assigned,
		}
		parts = append(parts, fmt.Sprintf("%d/%s", f.of.Assigned, f.of.Capacity.Short()))
	}
	want.Usage = strings.Join(parts, ", ")

	c := conditions{list: &want.Conditions, generation: p.Generation, now: now}
	switch {
	case said.Invalid != "":
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonInvalid, said.Invalid)
	case p.DeletionTimestamp != nil:
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonPoolDeleting,
			fmt.Sprintf("gives out nothing new; goes when Services have given up the addresses that they hold (%s): "+
				"annotate it with %s=true to move them, or make another pool that lists them", want.Usage, clarion.AnnotationReleaseOrphans))
	case u.IPv4.Capacity.IsZero() && u.IPv6.Capacity.IsZero():
		c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted,
			"has no address to give out: all that it lists is excluded (excludeAddresses, avoidBuggyIPs), never given out, or an older pool's")
	default:
		c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "gives out addresses")
	}
	c.setIf(len(said.Ahead) > 0, clarion.ConditionOverlapping, clarion.ReasonOlderPoolHolds,
		"older pools have some of the addresses too and keep them: "+strings.Join(said.Ahead, ", "))
	var skipped []string
	for _, s := range said.Skipped {
		skipped = append(skipped, s.String())
	}
	if more := len(skipped) - maxSkipped; more > 0 {
		skipped = append(skipped[:maxSkipped:maxSkipped], fmt.Sprintf("and %d more", more))
	}
	c.setIf(len(skipped) > 0, clarion.ConditionAddressesSkipped, clarion.ReasonNeverGivenOut,
		"never given out: "+strings.Join(skipped, ", "))
	c.setIf(said.NearlyFull != "" && p.DeletionTimestamp == nil && said.Invalid == "", clarion.ConditionNearlyFull,
		clarion.ReasonFewAddressesLeft, said.NearlyFull)
	c.setIf(u.Orphans > 0 && p.DeletionTimestamp == nil && said.Invalid == "", clarion.ConditionOrphans, clarion.ReasonHeldOutsidePool,
		fmt.Sprintf("Services hold addresses that the pool does not give out any more (%d), and keep them; "+
			"annotate the pool with %s=true to move them", u.Orphans, clarion.AnnotationReleaseOrphans))
	return want
}

// maxSkipped is how many addresses that are never given out a pool's condition names.
const maxSkipped = 64

// conditions are the conditions of one of our objects.
type conditions struct {
	list       *[]metav1.Condition
	generation int64
	now        time.Time
}

func (c conditions) set(kind clarion.ConditionType, status metav1.ConditionStatus, reason clarion.Reason, message string) {
	meta.SetStatusCondition(c.list, metav1.Condition{
		Type:               string(kind),
		Status:             status,
		Reason:             string(reason),
		Message:            cut(message, maxConditionMessage),
		ObservedGeneration: c.generation,
		LastTransitionTime: metav1.NewTime(c.now.Truncate(time.Second)),
	})
}

// setIf sets an abnormal-true condition, or removes it.
func (c conditions) setIf(is bool, kind clarion.ConditionType, reason clarion.Reason, message string) {
	if is {
		c.set(kind, metav1.ConditionTrue, reason, message)
	} else {
		meta.RemoveStatusCondition(c.list, string(kind))
	}
}
