package reviews

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const (
	// fresh is for how long an answer is believed without asking again.
	fresh = time.Minute
	// longest is for how long a yes is believed while the API server does not answer.
	longest = 24 * time.Hour
	// denied is for how long a no is given without asking again.
	denied = 10 * time.Second
	// away is for how long a server that did not answer is not asked about tokens that were allowed before.
	away = 15 * time.Second
	// patience bounds both questions together. Prometheus waits ten seconds by default.
	patience = 4 * time.Second
	// most is how many answers are remembered.
	most = 256
	// atOnce is how many questions may be on their way at the same time.
	atOnce = 4
)

var _ metricsserver.Filter = (*Reviewer)(nil).Filter

// Filter is a controller-runtime filter provider: it lets through to metrics whom the API server allows to read them.
func Filter(config *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	tokens, err := authenticationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for TokenReviews: %w", err)
	}
	access, err := authorizationclient.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("making a client for SubjectAccessReviews: %w", err)
	}
	return New(func(ctx context.Context, token, verb, path string) (Verdict, error) {
		return ask(ctx, tokens.TokenReviews(), access.SubjectAccessReviews(), token, verb, path)
	}, time.Now).Filter, nil
}

// A Verdict is what the API server says of a token.
type Verdict uint8

// The verdicts.
const (
	// Unknown: the token is nobody's.
	Unknown Verdict = iota
	// Forbidden: whose it is may not do this.
	Forbidden
	// Allowed: whose it is may.
	Allowed
)

// Reviewer asks and remembers.
type Reviewer struct {
	ask func(ctx context.Context, token, verb, path string) (Verdict, error)
	now func() time.Time
	// asking has room for the questions that may be on their way.
	asking chan struct{}

	mu      sync.Mutex
	answers map[question]answer
	awayTil time.Time
}

// question is what is remembered of a request: no token, only its hash.
type question struct {
	token      [sha256.Size]byte
	verb, path string
}

type answer struct {
	verdict Verdict
	at      time.Time
	expires time.Time // of the token, zero where it does not say
}

// New returns a Reviewer that asks by a function.
func New(ask func(ctx context.Context, token, verb, path string) (Verdict, error), now func() time.Time) *Reviewer {
	return &Reviewer{ask: ask, now: now, asking: make(chan struct{}, atOnce), answers: map[question]answer{}}
}

// Filter is a handler before a handler.
func (r *Reviewer) Filter(log logr.Logger, next http.Handler) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
		token = strings.TrimSpace(token)
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "give a bearer token", http.StatusUnauthorized)
			return
		}
		verdict, err := r.review(request.Context(), token, strings.ToLower(request.Method), request.URL.Path)
		switch {
		case err != nil:
			log.Error(err, "the API server can't say who asks for metrics")
			http.Error(w, "the API server can't be asked who you are", http.StatusServiceUnavailable)
		case verdict == Unknown:
			http.Error(w, "the API server does not know this token", http.StatusUnauthorized)
		case verdict == Forbidden:
			http.Error(w, "to read "+request.URL.Path+" is not allowed to you: see ClusterRole clarion-metrics-reader", http.StatusForbidden)
		default:
			next.ServeHTTP(w, request)
		}
	}), nil
}

func (r *Reviewer) review(ctx context.Context, token, verb, path string) (Verdict, error) {
	q := question{sha256.Sum256([]byte(token)), verb, path}
	now := r.now()
	r.mu.Lock()
	known, asked := r.answers[q]
	resting := now.Before(r.awayTil)
	r.mu.Unlock()
	stands := asked && known.verdict == Allowed && now.Sub(known.at) < longest && (known.expires.IsZero() || now.Before(known.expires))
	switch {
	case asked && known.verdict != Allowed && now.Sub(known.at) < denied:
		return known.verdict, nil
	case stands && (now.Sub(known.at) < fresh || resting):
		return Allowed, nil
	}

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	verdict, err := r.askInTurn(ctx, token, verb, path)
	now = r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.awayTil = now.Add(away)
		if stands {
			return Allowed, nil
		}
		return Unknown, err
	}
	r.awayTil = time.Time{}
	r.remember(q, answer{verdict, now, expiry(token)})
	return verdict, nil
}

func (r *Reviewer) askInTurn(ctx context.Context, token, verb, path string) (Verdict, error) {
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return Unknown, fmt.Errorf("too many are asked for at once: %w", ctx.Err())
	}
	return r.ask(ctx, token, verb, path)
}

// remember keeps an answer, in the place of a no or of the oldest one where there is no room. r.mu is held.
func (r *Reviewer) remember(q question, a answer) {
	if _, there := r.answers[q]; !there && len(r.answers) >= most {
		var oldest question
		for other, o := range r.answers {
			worst, found := r.answers[oldest]
			if !found || (o.verdict == Allowed) != (worst.verdict == Allowed) && o.verdict != Allowed ||
				(o.verdict == Allowed) == (worst.verdict == Allowed) && o.at.Before(worst.at) {
				oldest = other
			}
		}
		delete(r.answers, oldest)
	}
	r.answers[q] = a
}

// expiry is when a token says that it expires. It is asked of tokens that the API server knew.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	content, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(content, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}

type tokenReviews interface {
	Create(context.Context, *authenticationv1.TokenReview, metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

type accessReviews interface {
	Create(context.Context, *authorizationv1.SubjectAccessReview, metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// ask asks the API server whose a token is, and whether that one may do this.
func ask(ctx context.Context, tokens tokenReviews, access accessReviews, token, verb, path string) (Verdict, error) {
	review, err := tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return Unknown, fmt.Errorf("asking whose a token is: %w", err)
	}
	if !review.Status.Authenticated {
		return Unknown, nil
	}
	user := review.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	question := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: verb, Path: path},
	}}
	decision, err := access.Create(ctx, question, metav1.CreateOptions{})
	switch {
	case err != nil:
		return Unknown, fmt.Errorf("asking whether %s may %s %s: %w", user.Username, verb, path, err)
	case decision.Status.Allowed:
		return Allowed, nil
	case decision.Status.EvaluationError != "":
		return Unknown, errors.New("the API server could not decide: " + decision.Status.EvaluationError)
	}
	return Forbidden, nil
}
