package controller

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	clarion "github.com/clarion-lb/clarion/api/v1beta1"
	"github.com/clarion-lb/clarion/controller/ipam"
)

var errNotLeading = errors.New("the lease has run out")

// decide says what to write to a Service, nil for nothing. It has the ledger follow what it saw. The decision is nil for
// a Service that is not ours.
func (t *term) decide(s *corev1.Service, namespaceLabels map[string]string) (*write, *ipam.Decision) {
	k := keyOf(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wakeLocked()
	t.ledger.Advance(t.o.Now())

	known := t.known[k]
	if known != nil && older(s.ResourceVersion, known.version) {
		return nil, nil // the cache is behind what we wrote, or listed: the newer one will come
	}
	delete(t.unseen, k)
	if on, ok := t.unanswered[k]; ok && older(on, s.ResourceVersion) {
		delete(t.unanswered, k) // it came through, or meets a conflict
	}
	if known != nil && known.uid != "" && known.uid != s.UID {
		// Deleted and made again before we looked: what the one before had is not this one's.
		t.ledger.Release(k)
		t.keepFromOthersLocked(k, nil)
		delete(t.known, k)
		known = nil
	}
	if s.DeletionTimestamp != nil {
		t.ledger.StopWaiting(k)
		return nil, nil // it keeps what it has until it is gone, and gets nothing
	}
	switch sideOf(s, t.o.Classes) {
	case nobodys:
		return t.leaveLocked(s, true), nil
	case others:
		return t.leaveLocked(s, false), nil
	default:
		return t.serveLocked(s, known, namespaceLabels)
	}
}

// serveLocked decides on a Service of ours.
func (t *term) serveLocked(s *corev1.Service, known *service, namespaceLabels map[string]string) (*write, *ipam.Decision) {
	k := keyOf(s)
	if known == nil {
		known = &service{uid: s.UID}
		t.known[k] = known
	}
	r := requestOf(s, namespaceLabels)
	if t.o.Mode == Observe && t.writtenByOthersLocked(r) {
		t.ledger.Release(k) // so that what it shows is adopted, as it would be at a start
	}
	decisions.Inc()
	d := t.ledger.Assign(r)
	known.reason = d.Reason
	if len(t.poolGens) == 0 {
		return nil, nil // no pool: somebody else may be meant to serve here
	}

	now := t.o.Now()
	w := writeDecision(s, d, now)
	if !d.Foreign && t.o.Mode == Active {
		switch {
		case w.patch.Status == nil || w.patch.Status.LoadBalancer == nil:
			if known.contest.stopped {
				known.contest.over()
			}
		case known.told && !sameIngress(s.Status.LoadBalancer.Ingress, known.shown) && !known.contest.stopped:
			known.contest.lost(now, fingerprint(r))
			known.told = false // counted once
		}
		if known.contest.stopped && known.contest.request != fingerprint(r) {
			known.contest.over()
		}
		if known.contest.stopped {
			known.reason = clarion.ReasonAnotherWriter
			t.keepFromOthersLocked(k, r.Status.Addresses)
			w = writeContested(s, d, now)
		}
	}
	if known.differs = !w.empty(); known.differs {
		if t.o.Mode == Active && !known.contest.stopped && len(gains(s, d)) > 0 && !mayGain(s) {
			if known.foretold { // it was, and somebody took that away
				known.contest.lost(now, fingerprint(r))
			}
			w = writeAhead(s, d, now)
		}
		return w, &d
	}
	t.settleLocked(s, s, &d)
	return nil, nil
}

// writtenByOthersLocked reports whether a Service shows an address that is not what the ledger holds for it. In observe
// mode nothing that the ledger holds was written by us, so that it is the status that is right.
func (t *term) writtenByOthersLocked(r ipam.Request) bool {
	held := t.ledger.Holds(r.Service)
	return len(held) > 0 && slices.ContainsFunc(r.Status.Addresses, func(a netip.Addr) bool { return !slices.Contains(held, a) })
}

// keepFromOthersLocked has the ledger give nobody the addresses that another writer put in the status of a Service of
// ours, beside those that the Service holds by our doing: clients find it there.
func (t *term) keepFromOthersLocked(k ipam.Key, addrs []netip.Addr) {
	known := t.known[k]
	if known == nil || len(addrs) == 0 && !known.beside {
		return
	}
	held := t.ledger.Holds(k)
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(held, a) })
	known.beside = len(addrs) > 0
	t.ledger.Reserve(ipam.Key{Namespace: k.Namespace, Name: k.Name + "/status"}, addrs) // no Service has such a name
}

// leaveLocked decides on a Service that is not ours to serve. Of a Service of another type the API server has cleared
// the ingress itself.
func (t *term) leaveLocked(s *corev1.Service, cleared bool) *write {
	k := keyOf(s)
	held := t.ledger.Holds(k)
	if cleared {
		t.ledger.Release(k)
	}
	if len(held) > 0 || marked(s) {
		if w := writeClear(s, held); !w.empty() && len(t.poolGens) > 0 {
			return w
		}
	}
	if !cleared {
		t.ledger.Reserve(k, statusOf(s).Addresses)
	}
	t.keepFromOthersLocked(k, nil)
	delete(t.known, k)
	return nil
}

// foretoldLocked notes that a Service says by now that an address is about to come.
func (t *term) foretoldLocked(s, written *corev1.Service) {
	if known := t.known[keyOf(s)]; known != nil && known.uid == s.UID {
		known.version, known.foretold = written.ResourceVersion, true
	}
	t.services.Add(keyOf(s)) // the cache may have it already
}

// settleLocked notes that a Service's status is as decided. d is nil for a Service that is not ours.
func (t *term) settleLocked(s, written *corev1.Service, d *ipam.Decision) {
	k := keyOf(s)
	known := t.known[k]
	if known == nil {
		known = &service{uid: s.UID}
		t.known[k] = known
	}
	known.version = written.ResourceVersion
	known.differs, known.foretold = false, false
	t.ledger.Advance(t.o.Now()) // what is given up rests from now on
	switch {
	case d == nil:
		t.ledger.Release(k)
		t.keepFromOthersLocked(k, nil)
	case d.Foreign:
	case known.contest.stopped:
		// What the ledger holds for it stays held: the other writer may still give in.
	default:
		t.ledger.Settle(k)
		t.keepFromOthersLocked(k, nil)
		known.shown, known.told = written.Status.LoadBalancer.Ingress, true
	}
	t.wakeLocked()
}

// older reports whether a version is before another one.
func older(version, than string) bool {
	if version == than || than == "" {
		return false
	}
	c, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && c < 0
}

// fingerprint tells whether what a Service asks for is still the same.
func fingerprint(r ipam.Request) uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, r.Families, r.Policy, r.Addresses, r.Pool, r.Ports, r.Labels, r.SharingKey, r.Local, r.Selector)
	return h.Sum64()
}
