package speaker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// portrait keeps this node's Speaker object: there, owned by the Node, and its status as it is. It writes at
// most once a second.
type portrait struct {
	client client.Client
	log    *slog.Logger
	node   string
	wrote  func(result string)
	signal chan struct{}

	mu      sync.Mutex
	nodeUID types.UID // the Node's; without it there is nothing to do
	want    *v1beta1.SpeakerStatus
	have    *v1beta1.Speaker // as the informer has it, nil for none
}

const (
	portraitInterval = time.Second
	portraitRetry    = 5 * time.Second
	// maxMissing is how many names of missing speakers fit in.
	maxMissing = 64
)

func newPortrait(c client.Client, log *slog.Logger, node string, wrote func(result string)) *portrait {
	return &portrait{client: c, log: log, node: node, wrote: wrote, signal: make(chan struct{}, 1)}
}

// show sets what the status is.
func (p *portrait) show(node types.UID, s v1beta1.SpeakerStatus) {
	p.mu.Lock()
	// What was shown before need not be looked at once more, if there is an object to have it.
	same := p.have != nil && p.want != nil && p.nodeUID == node && reflect.DeepEqual(*p.want, s)
	p.nodeUID, p.want = node, &s
	p.mu.Unlock()
	if !same {
		p.poke()
	}
}

// seen takes in the object as it is, nil for none.
func (p *portrait) seen(s *v1beta1.Speaker) {
	p.mu.Lock()
	p.have = s
	p.mu.Unlock()
	p.poke()
}

func (p *portrait) poke() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

// run writes until ctx ends.
func (p *portrait) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.signal:
		}
		pause := portraitInterval
		if wrote, err := p.write(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("can't write this node's Speaker object, trying again", "node", p.node, "error", err)
			p.wrote("error")
			p.poke()
			pause = portraitRetry
		} else if wrote {
			p.wrote("ok")
		} else {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// write makes one write, if one is needed.
func (p *portrait) write(ctx context.Context) (wrote bool, err error) {
	p.mu.Lock()
	uid, want, have := p.nodeUID, p.want, p.have
	p.mu.Unlock()
	if want == nil || uid == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if have == nil {
		return true, p.create(ctx, uid)
	}
	status := *want
	status.Conditions = slices.Clone(have.Status.Conditions)
	for _, c := range want.Conditions {
		c.ObservedGeneration = have.Generation
		meta.SetStatusCondition(&status.Conditions, c)
	}
	if reflect.DeepEqual(normal(status), normal(have.Status)) {
		return false, nil
	}
	patch, err := statusPatch(status)
	if err != nil {
		return false, err
	}
	o := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{Name: p.node}}
	if err := p.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return true, fmt.Errorf("patching: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have == have {
		p.have = o // until the informer tells
	}
	return true, nil
}

// statusPatch sets all of a status. In a merge patch what is left out stays, so an empty list has to be said.
func statusPatch(s v1beta1.SpeakerStatus) ([]byte, error) {
	type membership struct {
		v1beta1.SpeakerMembership
		Missing []string `json:"missing"`
	}
	type network struct {
		OnLink   []string `json:"onLink"`
		Gateways []string `json:"gateways"`
	}
	type status struct {
		v1beta1.SpeakerStatus
		BGP        *v1beta1.SpeakerBGP `json:"bgp"`
		Network    *network            `json:"network"`
		Membership membership          `json:"membership"`
	}
	full := status{SpeakerStatus: s, BGP: s.BGP, Membership: membership{*s.Membership, s.Membership.Missing}}
	if n := s.Network; n != nil {
		full.Network = &network{n.OnLink, n.Gateways}
	}
	b, err := json.Marshal(map[string]any{"status": full})
	if err != nil {
		return nil, fmt.Errorf("encoding a status: %w", err)
	}
	return b, nil
}

// normal makes statuses comparable: times as the API server keeps them, and no difference between none and nil.
func normal(s v1beta1.SpeakerStatus) v1beta1.SpeakerStatus {
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		s.Conditions[i].LastTransitionTime = metav1.NewTime(s.Conditions[i].LastTransitionTime.Truncate(time.Second).UTC())
	}
	if m := s.Membership; m != nil && len(m.Missing) == 0 {
		copied := *m
		copied.Missing = nil
		s.Membership = &copied
	}
	if b := s.BGP; b != nil {
		copied := *b
		copied.Sessions = slices.Clone(b.Sessions)
		for i, session := range copied.Sessions {
			copied.Sessions[i].Since = metav1.NewTime(session.Since.Truncate(time.Second).UTC())
		}
		s.BGP = &copied
	}
	if n := s.Network; n != nil && len(n.OnLink)+len(n.Gateways) == 0 {
		s.Network = nil
	}
	return s
}

func (p *portrait) create(ctx context.Context, node types.UID) error {
	o := &v1beta1.Speaker{ObjectMeta: metav1.ObjectMeta{
		Name: p.node,
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Node", Name: p.node, UID: node,
		}},
	}}
	if err := p.client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have == nil && o.ResourceVersion != "" {
		p.have = o
		p.poke()
	}
	return nil
}

// statusOf is what a speaker says of itself.
func statusOf(build string, owned int, alive, expected int, missing []string, serving bool, waitsFor string) v1beta1.SpeakerStatus {
	s := v1beta1.SpeakerStatus{
		Version: build[:min(len(build), 64)],
		Layer2:  &v1beta1.SpeakerLayer2{AddressesOwned: int32(owned)},
		Membership: &v1beta1.SpeakerMembership{
			Alive:    int32(alive),
			Expected: int32(expected),
			Missing:  missing[:min(len(missing), maxMissing)],
		},
	}
	ready := metav1.Condition{
		Type:    string(v1beta1.ConditionReady),
		Status:  metav1.ConditionTrue,
		Reason:  string(v1beta1.ReasonRunning),
		Message: "the speaker announces what is its to announce",
	}
	if !serving {
		ready.Status, ready.Reason = metav1.ConditionFalse, string(v1beta1.ReasonStarting)
		ready.Message = "waiting for " + waitsFor
	}
	s.Conditions = []metav1.Condition{ready}
	return s
}
