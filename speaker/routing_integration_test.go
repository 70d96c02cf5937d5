package speaker

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// A speaker that may not read a password says which command lets it, and goes on by itself when it may.
func passwordsAreGrantedByName(r *rig) {
	const user = "someone"
	admin, err := client.New(r.config, client.Options{}) // which knows roles
	r.must(err)
	config := rest.CopyConfig(r.config)
	config.Impersonate.UserName = user
	w := &secretsWatch{config: config, namespace: "clarion-system", log: slog.New(slog.DiscardHandler), feed: newFeed(), routing: newRouting("a", false),
		following: map[string]context.CancelFunc{}}
	ctx, stop := context.WithCancel(r.Context())
	defer w.parts.Wait()
	defer stop()
	w.follow(ctx, map[string]bool{"granted": true})
	sees := func(what string, holds func() bool) {
		r.Helper()
		r.eventually(what, 30*time.Second, func() bool {
			for _, do := range w.feed.take() {
				do(nil)
			}
			return holds()
		})
	}
	sees("the command is told", func() bool {
		return w.routing.unreadable["granted"] == "speakers may not read the Secret granted: kubectl -n clarion-system create role clarion-speaker-passwords "+
			"--verb=get,list,watch --resource=secrets --resource-name=granted"
	})
	role := metav1.ObjectMeta{Namespace: "clarion-system", Name: "clarion-speaker-passwords"}
	r.must(admin.Create(r.Context(), &rbacv1.Role{ObjectMeta: role,
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"granted"}, Verbs: []string{"get", "list", "watch"}}}}))
	r.must(admin.Create(r.Context(), &rbacv1.RoleBinding{ObjectMeta: role, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}}))
	sees("it may read what is not there", func() bool { return len(w.routing.unreadable) == 0 })
	r.must(r.client.Create(r.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "clarion-system", Name: "granted"}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte("word")}}))
	sees("the password is read", func() bool { return w.routing.passwords["granted"].secret == "word" })
}

// Two speakers with a real API server, and routers on paper.
func TestSpeakersAdvertiseByBGP(t *testing.T) {
	r := newRig(t, crds...)
	passwordsAreGrantedByName(r)
	r.secret(aKey)
	one, two := r.node(1), r.node(2)
	r.service("web", "198.51.100.1")
	a, b := r.start(one, nil), r.start(two, func(o *Options) { o.Stop = StopRestart })
	r.eventually("both are ready", 20*time.Second, r.allReady)
	r.eventually("the Service says that nothing announces it", 10*time.Second, func() bool { return r.said("web") == "False NoAdvertisement" })
	if n := a.paperBGP.count(); n > 0 {
		t.Errorf("without any object about BGP it was asked for sessions %d times", n)
	}

	asn := v1beta1.ASN(65000)
	peer := &v1beta1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor"}, Spec: v1beta1.BGPPeerSpec{MyASN: 65001, PeerASN: &asn, PeerAddress: "192.0.2.254",
		PasswordSecret: &v1beta1.SecretReference{Name: "tor"}, BFDProfile: "fast"}}
	r.must(r.client.Create(r.Context(), peer))
	r.must(r.client.Create(r.Context(), &v1beta1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "fast"}}))
	ad := &v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "everything"}}
	r.must(r.client.Create(r.Context(), ad))
	session := func(node string) v1beta1.BGPSession {
		var s v1beta1.Speaker
		if err := r.client.Get(r.Context(), client.ObjectKey{Name: node}, &s); err != nil || s.Status.BGP == nil || len(s.Status.BGP.Sessions) != 1 {
			return v1beta1.BGPSession{}
		}
		return s.Status.BGP.Sessions[0]
	}
	r.eventually("the Speaker says that the password is missing", 10*time.Second, func() bool {
		return strings.HasPrefix(session(one).LastError, "NoPassword: ")
	})
	r.eventually("the Service says that there is no session", 10*time.Second, func() bool { return r.said("web") == "False NoSession" })

	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "clarion-system", Name: "tor"}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte("word")}}
	r.must(r.client.Create(r.Context(), secret))
	r.eventually("the Service is announced", 10*time.Second, func() bool { return r.said("web") == "True Announced" })
	for name, s := range map[string]*testSpeaker{one: a, two: b} {
		if got := s.paperBGP.routes("tor"); got != "198.51.100.1/32" {
			t.Errorf("%s sends %q", name, got)
		}
		r.eventually("the Speaker tells of the session", 5*time.Second, func() bool {
			return session(name).State == v1beta1.BGPEstablished && session(name).RoutesSent == 1
		})
	}
	r.eventually("an event tells of it", 5*time.Second, func() bool {
		var events eventsv1.EventList
		r.must(r.client.List(r.Context(), &events))
		return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool {
			return e.Reason == string(v1beta1.ReasonSessionEstablished) && e.Regarding.Kind == "BGPPeer" && e.Regarding.Name == "tor"
		})
	})

	// What changes nothing asks nothing of BGP.
	asked := a.paperBGP.count()
	for _, o := range []client.Object{peer, ad, secret} {
		r.must(r.client.Patch(r.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"note":"x"}}}`))))
	}
	r.service("other", "203.0.113.9")
	r.eventually("the other Service is advertised", 5*time.Second, func() bool { return a.paperBGP.routes("tor") == "198.51.100.1/32, 203.0.113.9/32" })
	if n := a.paperBGP.count(); n != asked+1 {
		t.Errorf("one new route asked for sessions %d times", n-asked)
	}

	r.stop(two)
	r.stop(one)
	if got := strings.Join(b.paperBGP.asked(), " "); got != "restart" {
		t.Errorf("the one that restarts was asked to %q", got)
	}
	if got := strings.Join(a.paperBGP.asked(), " "); got != "leave" {
		t.Errorf("the one that leaves was asked to %q", got)
	}
}
