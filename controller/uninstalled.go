package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
)

// DeploymentName is the name of the Deployment that the controller runs as.
const DeploymentName = "clarion-controller"

const (
	// markRate is how many Services are written a second.
	markRate = 50
	// markWithin bounds what a controller that is being uninstalled writes: less than a Pod's grace of 30 seconds.
	markWithin = 20 * time.Second
	// askDeployment bounds the question whether the Deployment is there.
	askDeployment = 2 * time.Second
)

// MarkUninstalled says on every Service that bears conditions of ours that nobody keeps them any more. The addresses stay. It is for
// when no controller and no speaker writes any more.
func MarkUninstalled(ctx context.Context, config *rest.Config, log *slog.Logger) error {
	config = rest.CopyConfig(config)
	config.QPS = -1 // markRate is less
	c, err := client.New(config, client.Options{Scheme: scheme(), Mapper: mapper()})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return markUninstalled(ctx, c, log)
}

func markUninstalled(ctx context.Context, c client.Client, log *slog.Logger) error {
	limit := rate.NewLimiter(markRate, markRate)
	marked, failed := 0, error(nil)
	for page := (corev1.ServiceList{}); ; {
		if err := c.List(ctx, &page, client.Limit(500), client.Continue(page.Continue)); err != nil {
			return fmt.Errorf("listing Services: %w", err)
		}
		for i := range page.Items {
			s := &page.Items[i]
			patch := uninstalledPatch(s, time.Now())
			if patch == nil {
				continue
			}
			if err := limit.Wait(ctx); err != nil {
				return fmt.Errorf("%d Services were marked, not all: %w", marked, err)
			}
			if err := c.Status().Patch(ctx, s, client.RawPatch(types.StrategicMergePatchType, patch)); client.IgnoreNotFound(err) != nil {
				failed = fmt.Errorf("marking Service %s/%s: %w", s.Namespace, s.Name, err)
				continue
			}
			marked++
		}
		if page.Continue == "" {
			break
		}
		page = corev1.ServiceList{ListMeta: page.ListMeta}
	}
	log.Info("uninstalled: the Services' conditions say so, their addresses stay", "services", marked)
	return failed
}

// uninstalledPatch is nil where there is nothing to say.
func uninstalledPatch(s *corev1.Service, now time.Time) []byte {
	var conditions []metav1.Condition
	for kind, want := range map[clarion.ConditionType]metav1.Condition{
		clarion.ConditionAddressAssigned: {Status: metav1.ConditionUnknown,
			Message: "Clarion has been uninstalled: the addresses in the status stay, and nobody keeps them from being given to others"},
		clarion.ConditionAnnounced: {Status: metav1.ConditionFalse,
			Message: "Clarion has been uninstalled: it announces the addresses no more"},
	} {
		had := meta.FindStatusCondition(s.Status.Conditions, string(kind))
		if had == nil || had.Reason == string(clarion.ReasonUninstalled) {
			continue
		}
		want.Type, want.Reason = string(kind), string(clarion.ReasonUninstalled)
		if want.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second)); had.Status == want.Status {
			want.LastTransitionTime = had.LastTransitionTime
		}
		conditions = append(conditions, want)
	}
	if conditions == nil {
		return nil
	}
	b, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": conditions}})
	if err != nil {
		panic(err) // strings and times
	}
	return b
}

// deployment asks for the Deployment that we run as.
func (p *process) deployment(ctx context.Context) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askDeployment)
	defer cancel()
	d := &metav1.PartialObjectMetadata{}
	d.SetGroupVersionKind(deploymentKind)
	err := p.client.Get(ctx, types.NamespacedName{Namespace: p.o.Namespace, Name: DeploymentName}, d)
	return d, err
}

var deploymentKind = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}

// lastWords is what a leader does that stops because its Deployment was deleted. ran is the Deployment as its term began, nil where it
// does not run as one. Where more than the Deployment was deleted, its rights are gone too: then Helm's hook does it.
func (p *process) lastWords(ctx context.Context, t *term, ran *metav1.PartialObjectMetadata) {
	if ran == nil || p.o.Mode != Active || t.lease.left() <= 0 {
		return
	}
	now, err := p.deployment(ctx)
	if !apierrors.IsNotFound(err) && (err != nil || now.DeletionTimestamp == nil && now.UID == ran.UID) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markWithin)
	defer cancel()
	if err := markUninstalled(ctx, p.client, p.o.Log); err != nil {
		p.o.Log.Warn("can't say on all Services that Clarion was uninstalled", "error", err)
	}
}
