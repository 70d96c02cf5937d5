package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// object names one of our objects other than pools, whose conditions the controller writes.
type object struct{ kind, name string }

// kinds are the kinds of such objects.
var kinds = map[string]struct {
	one  func() client.Object
	list func() client.ObjectList
}{
	"L2Advertisement": {
		func() client.Object { return &clarion.L2Advertisement{} },
		func() client.ObjectList { return &clarion.L2AdvertisementList{} },
	},
	"BGPAdvertisement": {
		func() client.Object { return &clarion.BGPAdvertisement{} },
		func() client.ObjectList { return &clarion.BGPAdvertisementList{} },
	},
	"BGPPeer": {
		func() client.Object { return &clarion.BGPPeer{} },
		func() client.ObjectList { return &clarion.BGPPeerList{} },
	},
	"BFDProfile": {
		func() client.Object { return &clarion.BFDProfile{} },
		func() client.ObjectList { return &clarion.BFDProfileList{} },
	},
	"Community": {
		func() client.Object { return &clarion.Community{} },
		func() client.ObjectList { return &clarion.CommunityList{} },
	},
}

// allObjects lists what is in the cache.
func (t *term) allObjects(ctx context.Context) (out []object) {
	for kind, k := range kinds {
		list := k.list()
		if err := t.cache.List(ctx, list); err != nil {
			t.log.Error("can't read objects from the cache", "kind", kind, "error", err)
			continue
		}
		for _, name := range namesOf(list) {
			out = append(out, object{kind, name})
		}
	}
	return out
}

func namesOf(list client.ObjectList) (out []string) {
	add := func(m metav1.ObjectMeta) { out = append(out, m.Name) }
	switch l := list.(type) {
	case *clarion.L2AdvertisementList:
		for i := range l.Items {
			add(l.Items[i].ObjectMeta)
		}
	case *clarion.BGPAdvertisementList:
		for i := range l.Items {
			add(l.Items[i].ObjectMeta)
		}
	case *clarion.BGPPeerList:
		for i := range l.Items {
			add(l.Items[i].ObjectMeta)
		}
	case *clarion.BFDProfileList:
		for i := range l.Items {
			add(l.Items[i].ObjectMeta)
		}
	case *clarion.CommunityList:
		for i := range l.Items {
			add(l.Items[i].ObjectMeta)
		}
	}
	return out
}

// reconcileObject writes the conditions of an object.
func (t *term) reconcileObject(ctx context.Context, o object) error {
	it := kinds[o.kind].one()
	err := t.cache.Get(ctx, types.NamespacedName{Name: o.name}, it)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || t.o.Mode == Observe {
		return err
	}
	var had, want any
	at := conditions{generation: it.GetGeneration(), now: t.o.Now()}
	switch it := it.(type) {
	case *clarion.L2Advertisement:
		status := it.Status.DeepCopy()
		at.list = &status.Conditions
		world, err := t.routingWorld(ctx)
		if err != nil {
			return err
		}
		judgeL2Advertisement(at, &it.Spec, world.pools, world.nodes)
		had, want = it.Status, *status
	case *clarion.BGPAdvertisement:
		status := it.Status.DeepCopy()
		at.list = &status.Conditions
		world, err := t.routingWorld(ctx)
		if err != nil {
			return err
		}
		world.judgeAdvertisement(at, it)
		had, want = it.Status, *status
	case *clarion.BGPPeer:
		status := it.Status.DeepCopy()
		at.list = &status.Conditions
		world, err := t.routingWorld(ctx)
		if err != nil {
			return err
		}
		world.judgePeer(at, it, status)
		had, want = it.Status, *status
	case *clarion.BFDProfile:
		status := it.Status.DeepCopy()
		at.list = &status.Conditions
		judgeProfile(at)
		had, want = it.Status, *status
	case *clarion.Community:
		status := it.Status.DeepCopy()
		at.list = &status.Conditions
		world, err := t.routingWorld(ctx)
		if err != nil {
			return err
		}
		world.judgeCommunity(at, it)
		had, want = it.Status, *status
	}
	patch, changed := statusPatch(it, had, want)
	if !changed {
		return nil
	}
	return t.patchStatus(ctx, o.kind, it, patch)
}

// judgeL2Advertisement says whether an advertisement is in force, given the pools and nodes that there are.
func judgeL2Advertisement(c conditions, spec *clarion.L2AdvertisementSpec, pools []clarion.IPAddressPool, nodes []corev1.Node) {
	unknown := missing(spec.IPAddressPools, func(name string) bool {
		return slices.ContainsFunc(pools, func(p clarion.IPAddressPool) bool { return p.Name == name })
	})
	selection, err := spec.Selection()
	switch {
	case err != nil:
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonInvalid, err.Error())
	case len(unknown) > 0 && len(unknown) == len(spec.IPAddressPools) && len(spec.IPAddressPoolSelectors) == 0:
		c.set(clarion.ConditionReady, metav1.ConditionFalse, clarion.ReasonPoolNotFound,
			"announces nothing: there is no IPAddressPool "+strings.Join(unknown, ", "))
	default:
		c.set(clarion.ConditionReady, metav1.ConditionTrue, clarion.ReasonAccepted, "announces the addresses of the pools it selects")
	}
	c.setIf(len(unknown) > 0, clarion.ConditionUnknownName, clarion.ReasonPoolNotFound,
		"there is no IPAddressPool "+strings.Join(unknown, ", ")+": correct the name, or create the pool")
	tellSelectsNothing(c, selection, len(spec.IPAddressPoolSelectors) > 0, pools, nodes)
}

// statusPatch is the merge patch that makes a status another one; changed is false when it is that already.
func statusPatch(o client.Object, had, want any) (patch []byte, changed bool) {
	before, after := fields(had), fields(want)
	diff := map[string]any{}
	for name, value := range after {
		if !bytes.Equal(before[name], value) {
			diff[name] = value
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			diff[name] = nil
		}
	}
	if len(diff) == 0 {
		return nil, false
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": o.GetUID(), "resourceVersion": o.GetResourceVersion()},
		"status":   diff,
	})
	if err != nil {
		panic(fmt.Sprintf("the status of %s can't be written as JSON: %v", o.GetName(), err))
	}
	return body, true
}

// fields are the fields of a status, as JSON.
func fields(status any) map[string]json.RawMessage {
	body, err := json.Marshal(status)
	out := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("a status can't be written as JSON: %v", err))
	}
	return out
}

// patchStatus sends a merge patch of an object's status.
func (t *term) patchStatus(ctx context.Context, kind string, o client.Object, patch []byte) error {
	ctx, cancel, err := t.toWrite(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	out, ok := o.DeepCopyObject().(client.Object) // the cache's own must not be written to
	if !ok {
		panic(fmt.Sprintf("a copy of a %T is a %T", o, o.DeepCopyObject()))
	}
	err = t.client.Status().Patch(ctx, out, client.RawPatch(types.MergePatchType, patch))
	countWrite(strings.ToLower(kind), err)
	if err != nil {
		return t.tellFailure(ctx, kind, o.GetName(), err)
	}
	return nil
}
