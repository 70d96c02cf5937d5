package controller

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

// Speakers say themselves how they are, and what is announced. Of those that can't any more the controller says it: NodeLost on a Speaker, and
// NoLiveSpeaker on Services when no speaker is left that could. A speaker that lives says otherwise, and is believed.

// speakerWrites is how many conditions a second are written in the speakers' stead.
const speakerWrites = 40

// busyHushPause lies before each of them on a Service while addresses are being written, so that these come first.
const busyHushPause = 100 * time.Millisecond

// speakersPause is how long after a look at all speakers the next one may follow.
const speakersPause = time.Second

// podWatch follows the speakers' Pods, in a cache of its own: what is not granted, or not there, must not keep the controller from
// its work.
type podWatch struct {
	mu      sync.Mutex
	pods    map[string]*corev1.Pod // by name
	synced  func() bool
	changed func()
}

// speakerPods are the labels of speakers' Pods.
var speakerPods = labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "clarion", "app.kubernetes.io/component": "speaker"})

func newPodWatch(ctx context.Context, c *cluster, o Options, changed func()) (*podWatch, cache.Cache, error) {
	w := &podWatch{pods: map[string]*corev1.Pod{}, changed: changed}
	pods, err := cache.New(c.config, cache.Options{
		HTTPClient: c.http, Scheme: scheme(), Mapper: mapper(), DefaultTransform: cache.TransformStripManagedFields(), DefaultWatchErrorHandler: watchErrors(o.Log),
		DefaultNamespaces: map[string]cache.Config{o.Namespace: {}},
		ByObject:          map[client.Object]cache.ByObject{&corev1.Pod{}: {Label: speakerPods, Transform: trimPod}},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("making the cache of Pods: %w", err)
	}
	informer, err := pods.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, nil, fmt.Errorf("following Pods: %w", err)
	}
	set := func(o any, gone bool) {
		if tombstone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = tombstone.Obj
		}
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return
		}
		w.mu.Lock()
		if gone {
			delete(w.pods, pod.Name)
		} else {
			w.pods[pod.Name] = pod
		}
		w.mu.Unlock()
		w.changed()
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { set(o, false) }, UpdateFunc: func(_, o any) { set(o, false) }, DeleteFunc: func(o any) { set(o, true) },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("following Pods: %w", err)
	}
	w.synced = registration.HasSynced
	return w, pods, nil
}

// ready returns on which nodes there is a Pod that is; nil while that is not known.
func (w *podWatch) ready() map[string]bool {
	if w == nil || !w.synced() {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]bool{}
	for _, p := range w.pods {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				out[p.Spec.NodeName] = true
			}
		}
	}
	return out
}

func trimPod(in any) (any, error) {
	p, ok := in.(*corev1.Pod)
	if !ok {
		return in, nil
	}
	out := &corev1.Pod{ObjectMeta: trimMeta(p.ObjectMeta)}
	out.Spec.NodeName = p.Spec.NodeName
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = append(out.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status})
		}
	}
	return out, nil
}

// speakersChanged has the speakers livenessVerdict anew.
func (t *term) speakersChanged() {
	select {
	case t.speakersSet <- struct{}{}:
	default:
	}
}

// lifeAlike reports whether two versions of a Node or a Speaker tell the same of who lives.
func lifeAlike(before, after any) bool {
	switch b := before.(type) {
	case *corev1.Node:
		a, ok := after.(*corev1.Node)
		return ok && reflect.DeepEqual(b.Status.Conditions, a.Status.Conditions)
	case *clarion.Speaker:
		a, ok := after.(*clarion.Speaker)
		return ok && reflect.DeepEqual(b.Status.Conditions, a.Status.Conditions) && reflect.DeepEqual(b.Status.Membership, a.Status.Membership)
	}
	return false
}

// followSpeakers judges who lives whenever something changed that tells, and says what follows.
func (t *term) followSpeakers(ctx context.Context) {
	life := newLiveness(t.o.Now())
	limit := rate.NewLimiter(speakerWrites, 1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var wakeAt time.Time
	for {
		if !wakeAt.IsZero() {
			timer.Reset(max(wakeAt.Sub(t.o.Now()), 0))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.speakersSet:
		case <-timer.C:
		}
		j, err := t.judgeSpeakers(ctx, life)
		if err != nil {
			t.log.Error("can't read Nodes and Speakers", "error", err)
		}
		wakeAt = j.wakeAt
		for _, s := range j.lost {
			if limit.Wait(ctx) != nil {
				return
			}
			if err := t.sayLost(ctx, s); err != nil {
				wakeAt = sooner(wakeAt, t.o.Now().Add(longestWait))
			}
		}
		t.speakerless.Store(j.never)
		if was := t.speechless.Swap(j.none); j.none && !was {
			t.log.Warn("no speaker lives: nothing is announced", "reason", clarion.ReasonNoLiveSpeaker)
			t.hushAll(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(speakersPause):
		}
	}
}

func (t *term) judgeSpeakers(ctx context.Context, life *liveness) (livenessVerdict, error) {
	var nodes corev1.NodeList
	var speakers clarion.SpeakerList
	if err := t.cache.List(ctx, &nodes); err != nil {
		return livenessVerdict{}, fmt.Errorf("listing Nodes: %w", err)
	}
	if err := t.cache.List(ctx, &speakers); err != nil {
		return livenessVerdict{}, fmt.Errorf("listing Speakers: %w", err)
	}
	return life.judge(t.o.Now(), speakersSeen{nodes: nodes.Items, speakers: speakers.Items, pods: t.speakerPods.ready()}), nil
}

// sayLost writes that a speaker is lost.
func (t *term) sayLost(ctx context.Context, lost lostSpeaker) error {
	var s clarion.Speaker
	if err := t.cache.Get(ctx, types.NamespacedName{Name: lost.name}, &s); err != nil {
		return client.IgnoreNotFound(err)
	}
	had, want := clarion.SpeakerStatus{Conditions: s.Status.Conditions}, clarion.SpeakerStatus{Conditions: slices.Clone(s.Status.Conditions)}
	at := conditions{generation: s.Generation, now: t.o.Now(), list: &want.Conditions}
	at.set(clarion.ConditionReady, metav1.ConditionUnknown, clarion.ReasonNodeLost, lost.why+"; what it announced is announced by others, if they can")
	patch, changed := statusPatch(&s, had, want)
	if !changed {
		return nil
	}
	t.log.Warn("a speaker is lost", "node", lost.name, "reason", lost.why)
	return t.patchStatus(ctx, "Speaker", &s, patch)
}

// hushAll has all Services looked at of which no speaker can say any more whether they are announced.
func (t *term) hushAll(ctx context.Context) {
	var services corev1.ServiceList
	if err := t.cache.List(ctx, &services); err != nil {
		t.log.Error("can't read Services from the cache", "error", err)
	}
	for i := range services.Items {
		t.hushed.Add(keyOf(&services.Items[i]))
	}
}

// hush says of a Service that nobody lives who could announce it, or say so.
func (t *term) hush(ctx context.Context, k ipam.Key) error {
	var s corev1.Service
	if err := t.cache.Get(ctx, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}, &s); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !t.speechless.Load() || sideOf(&s, t.o.Classes) != ours || s.DeletionTimestamp != nil ||
		len(s.Status.LoadBalancer.Ingress) == 0 || !marked(&s) || statusOf(&s).Pools == nil {
		return nil
	}
	if t.speakerless.Load() && meta.FindStatusCondition(s.Status.Conditions, string(clarion.ConditionAnnounced)) == nil {
		return nil // nobody has ever said that it is announced
	}
	w := newWrite(&s)
	if !w.condition(&s, metav1.Condition{Type: string(clarion.ConditionAnnounced), Status: metav1.ConditionUnknown, Reason: string(clarion.ReasonNoLiveSpeaker),
		Message: "no speaker is alive to announce the addresses, or to say so: see kubectl clarion doctor, or the Pods of the DaemonSet clarion-speaker"}, t.o.Now()) {
		return nil
	}
	if err := t.events.makeRoom(ctx, busyHushPause); err != nil {
		return err
	}
	if err := t.hushLimit.Wait(ctx); err != nil {
		return err
	}
	ctx, cancel, err := t.toWrite(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = t.send(ctx, &s, w)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err // a conflict is another version, which the next try sees
}
