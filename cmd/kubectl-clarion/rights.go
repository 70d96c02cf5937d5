package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/cmd/kubectl-clarion/doctor"
	"github.com/clarion-lb/clarion/config/rbac"
)

// reviewsAtOnce is how many questions are with the API server at the same time.
const reviewsAtOnce = 8

// lacking asks the API server what Clarion's programs may not do that they are granted by the manifests, or that the peers' passwords
// ask for.
func (p *program) lacking(ctx context.Context, c client.Client, peers []v1beta1.BGPPeer, profiles []v1beta1.BFDProfile) ([]doctor.Lack, error) {
	need, err := rbac.Rights()
	if err != nil {
		return nil, err
	}
	var out []doctor.Lack
	for _, s := range secretsOf(peers, profiles) {
		need = append(need, rbac.Right{Account: "clarion-speaker", Verb: "watch", Resource: "secrets", Name: s.name, Namespaced: true})
		var secret corev1.Secret
		if err := c.Get(ctx, client.ObjectKey{Namespace: p.installedIn, Name: s.name}, &secret); apierrors.IsNotFound(err) {
			out = append(out, doctor.Lack{What: fmt.Sprintf("%s wants its password from Secret %s/%s, which does not exist", s.by, p.installedIn, s.name), Secret: s.name})
		}
	}
	refused := make([]bool, len(need))
	failed := make([]error, len(need))
	var wait sync.WaitGroup
	slots := make(chan struct{}, reviewsAtOnce)
	for i, r := range need {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			refused[i], failed[i] = p.refused(ctx, c, r)
		})
	}
	wait.Wait()
	for i, r := range need {
		if failed[i] != nil {
			return nil, failed[i]
		}
		if refused[i] {
			out = lacks(out, r, p.installedIn)
		}
	}
	return out, nil
}

// refused asks whether a right is not there.
func (p *program) refused(ctx context.Context, c client.Client, r rbac.Right) (bool, error) {
	attributes := &authorizationv1.ResourceAttributes{Verb: r.Verb, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource, Name: r.Name}
	if r.Namespaced {
		attributes.Namespace = p.installedIn
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:               "system:serviceaccount:" + p.installedIn + ":" + r.Account,
		Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + p.installedIn, "system:authenticated"},
		ResourceAttributes: attributes,
	}}
	err := c.Create(ctx, review)
	return !review.Status.Allowed, err
}

// lacks notes a right that is missing, beside the other verbs on the same thing.
func lacks(all []doctor.Lack, r rbac.Right, namespace string) []doctor.Lack {
	object := strings.TrimSuffix(r.Resource+"/"+r.Subresource, "/")
	if r.Namespaced {
		object += " in namespace " + namespace
	}
	who := fmt.Sprintf("ServiceAccount %s/%s may not ", namespace, r.Account)
	one := doctor.Lack{What: who + r.Verb + " " + object}
	if r.Name != "" {
		one.What = strings.Replace(one.What, " in namespace "+namespace, " "+namespace+"/"+r.Name, 1)
		if r.Resource == "secrets" && r.Name != gossipSecret {
			one.Secret = r.Name
		}
	}
	// What one can do without: the keys are there, or nobody asks for metrics.
	one.Minor = r.Verb == "create" && r.Resource != "speakers" && r.Resource != "leases"
	about := strings.TrimPrefix(one.What, who+r.Verb)
	if i := slices.IndexFunc(all, func(l doctor.Lack) bool {
		return strings.HasPrefix(l.What, who) && strings.HasSuffix(l.What, about) && l.Minor == one.Minor
	}); i >= 0 {
		all[i].What = strings.TrimSuffix(all[i].What, about) + ", " + r.Verb + about
		return all
	}
	return append(all, one)
}

// secret is one that speakers read a password from.
type secret struct{ name, by string }

// secretsOf are those that peers, and the BFDProfiles that they name, ask for.
func secretsOf(peers []v1beta1.BGPPeer, profiles []v1beta1.BFDProfile) (out []secret) {
	add := func(name v1beta1.ObjectName, by string) {
		if !slices.ContainsFunc(out, func(s secret) bool { return s.name == string(name) }) {
			out = append(out, secret{string(name), by})
		}
	}
	for _, p := range peers {
		if ref := p.Spec.PasswordSecret; ref != nil {
			add(ref.Name, "BGPPeer "+p.Name)
		}
		for _, profile := range profiles {
			if auth := profile.Spec.Authentication; auth != nil && profile.Name == string(p.Spec.BFDProfile) {
				for _, k := range auth.Keys {
					add(k.PasswordSecret.Name, "BFDProfile "+profile.Name)
				}
			}
		}
	}
	return out
}
