package speaker

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// speech knows what this speaker has said of each Service, and so decides whether and when to say it (again). It
// belongs to the loop; time is an argument.
type speech struct {
	lines map[types.NamespacedName]*line
	held  map[types.NamespacedName]time.Time // since when a verdict on half a view is held back
	due   map[types.NamespacedName]time.Time // when to look at a Service again although nothing changed
}

// line is what was said of one Service.
type line struct {
	uid types.UID
	say metav1.Condition
	// onItsWay is true until it was seen on the Service, or the herald is done with it.
	onItsWay bool
	at       time.Time // said last
	again    time.Time // when it may be said again; zero while there is no need
	delay    time.Duration
}

const (
	// seenWithin is how long what was written may take to be seen, before it is written again.
	seenWithin = 5 * time.Second
	// repeatFirst and repeatMost bound the time after which what another writer replaced is said again, which doubles each
	// time: two speakers that don't hear each other must not fight over a Service at the pace of the API server.
	repeatFirst = time.Second
	repeatMost  = 5 * time.Minute
	// holdBack is how long a verdict waits that a missing speaker may know better.
	holdBack = 30 * time.Second
)

func newSpeech() *speech {
	return &speech{
		lines: map[types.NamespacedName]*line{},
		held:  map[types.NamespacedName]time.Time{},
		due:   map[types.NamespacedName]time.Time{},
	}
}

// forget ends all concern with a Service, and reports whether something was on its way.
func (p *speech) forget(key types.NamespacedName) (onItsWay bool) {
	l := p.lines[key]
	delete(p.lines, key)
	delete(p.held, key)
	delete(p.due, key)
	return l != nil && l.onItsWay
}

// holds reports whether a verdict is to be held back, and with it what is on its way: nobody is seen to own any of the Service's addresses, but not all
// speakers that should exist are heard, and one of those may.
func (p *speech) holds(now time.Time, key types.NamespacedName, v verdict, missing bool) bool {
	switch v1beta1.Reason(v.condition.Reason) {
	case v1beta1.ReasonNoEndpoint, v1beta1.ReasonNoAdvertisement:
		missing = false // seen in the API server's objects, which are the same for all
	}
	if v.owned || !missing {
		delete(p.held, key)
		return false
	}
	since, held := p.held[key]
	if !held {
		since = now
		p.held[key] = since
	}
	if until := since.Add(holdBack); now.Before(until) {
		p.due[key] = until
		if l := p.lines[key]; l != nil {
			l.onItsWay = false
		}
		return true
	}
	return false
}

// utter reports whether a condition is to be written now.
func (p *speech) utter(now time.Time, key types.NamespacedName, uid types.UID, stands *metav1.Condition, say metav1.Condition) bool {
	delete(p.due, key)
	l := p.lines[key]
	switch {
	case sayTheSame(stands, say):
		if l != nil {
			l.onItsWay, l.again = false, time.Time{}
		}
		return false
	case l == nil || l.uid != uid:
		p.lines[key] = &line{uid: uid, say: say, onItsWay: true, at: now, delay: repeatFirst}
		return true
	case !sayTheSame(&l.say, say):
		l.say, l.onItsWay, l.at, l.again = say, true, now, time.Time{}
		return true
	case l.onItsWay:
		return false
	}
	// It was said, and something else stands there.
	if l.again.IsZero() {
		if now.Sub(l.at) > repeatMost+l.delay {
			l.delay = repeatFirst
		}
		l.again = now.Add(l.delay)
	}
	if now.Before(l.again) {
		p.due[key] = l.again
		return false
	}
	l.onItsWay, l.at, l.again, l.delay = true, now, time.Time{}, min(2*l.delay, repeatMost)
	return true
}

// finished takes in that the herald is done with a statement: it is written, or can't be.
func (p *speech) finished(now time.Time, key types.NamespacedName, s statement) {
	l := p.lines[key]
	if l == nil || !l.onItsWay || l.uid != s.uid || !sayTheSame(&l.say, s.say) {
		return
	}
	l.onItsWay, l.again = false, now.Add(max(seenWithin, l.delay))
}

// take returns the Services that are due.
func (p *speech) take(now time.Time) (keys []types.NamespacedName) {
	for key, at := range p.due {
		if !now.Before(at) {
			keys = append(keys, key)
			delete(p.due, key)
		}
	}
	return keys
}

// waiting returns when the first Service is due; zero for none.
func (p *speech) waiting() time.Time {
	if len(p.due) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(slices.Collect(maps.Values(p.due)), time.Time.Compare)
}
