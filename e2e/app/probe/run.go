package probe

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Options say what to probe and how.
type Options struct {
	// Targets are probed all alike, their attempts spread over the interval.
	Targets []netip.AddrPort
	// Interval is the time between two attempts at one target; 10 ms by default.
	Interval time.Duration
	// Timeout is each attempt's own; 900 ms by default, just below the time after which a lost SYN is sent again.
	Timeout time.Duration
	// Duration bounds the whole; 0 goes on until the context ends.
	Duration time.Duration
	// ConnectOnly ends an attempt when the connection stands, without a request.
	ConnectOnly bool
	// Path is what is asked for; / by default.
	Path string
	// NetworkNamespace is the path of the network namespace to probe from, such as /run/netns/client; empty is the
	// process's own.
	NetworkNamespace string
	// OnAttempt, when given, hears of each attempt as it ends, one at a time.
	OnAttempt func(Attempt)
}

func (o *Options) complete() error {
	if len(o.Targets) == 0 {
		return errors.New("no target to probe")
	}
	for _, t := range o.Targets {
		if !t.IsValid() || t.Port() == 0 {
			return fmt.Errorf("target %v needs an address and a port", t)
		}
	}
	if o.Interval < 0 || o.Timeout < 0 || o.Duration < 0 {
		return errors.New("interval, timeout and duration cannot be negative")
	}
	if o.Interval == 0 {
		o.Interval = 10 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 900 * time.Millisecond
	}
	if o.Path == "" {
		o.Path = "/"
	}
	return nil
}

// Run probes until the duration is over or ctx ends, waits for the attempts under way (at most the timeout) and
// returns all of them in the order in which they ended. Failed attempts are the result, not an error.
func Run(ctx context.Context, o Options) ([]Attempt, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}

	var attempts []Attempt
	ended := make(chan Attempt, 64)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for a := range ended {
			attempts = append(attempts, a)
			if o.OnAttempt != nil {
				o.OnAttempt(a)
			}
		}
	}()

	err := inNetworkNamespace(o.NetworkNamespace, func() { schedule(ctx, o, ended) })
	close(ended)
	<-collected
	return attempts, err
}

// schedule starts the attempts in their time, on the calling thread, and returns when the last has ended.
func schedule(ctx context.Context, o Options, ended chan<- Attempt) {
	var underWay sync.WaitGroup
	defer underWay.Wait()

	step := max(o.Interval/time.Duration(len(o.Targets)), 1)
	next := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if ctx.Err() != nil { // both were ready
			return
		}
		a := Attempt{Target: o.Targets[n%len(o.Targets)], Start: time.Now()}
		c, err := connect(a.Target)
		if err != nil {
			a.fail(err, ConnectLate)
			a.Took = time.Since(a.Start)
			ended <- a
		} else {
			underWay.Go(func() {
				a.complete(c, o)
				a.Took = time.Since(a.Start)
				ended <- a
			})
		}
		next = next.Add(step)
		if now := time.Now(); now.Sub(next) > o.Interval {
			next = now // starved: what was missed is not made up for by a burst, it shows as a pause
		}
		timer.Reset(time.Until(next))
	}
}

// complete sees an attempt through whose SYN has left.
func (a *Attempt) complete(c *connection, o Options) {
	defer c.close()
	deadline := a.Start.Add(o.Timeout)
	err := c.wait(deadline)
	a.Connected = time.Since(a.Start)
	a.Local, a.Retransmits = c.local(), c.retransmits()
	if err != nil {
		a.Connected = 0
		a.fail(err, ConnectLate)
		return
	}
	if o.ConnectOnly {
		return
	}
	answer, err := c.ask(a.Target, o.Path)
	if err != nil {
		a.fail(err, AnswerLate)
		return
	}
	a.Pod, a.Node = answer.Pod, answer.Node
}

// errInvalidAnswer marks answers that the test server does not give.
var errInvalidAnswer = errors.New("invalid answer")

// fail notes why an attempt failed; late is what a deadline means at this point.
func (a *Attempt) fail(err error, late Failure) {
	a.Error = err.Error()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		a.Failure = late
	case errors.Is(err, syscall.ECONNREFUSED):
		a.Failure = Refused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		a.Failure = Unreachable
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		a.Failure = Reset
	case errors.Is(err, errInvalidAnswer):
		a.Failure = AnswerInvalid
	default:
		a.Failure = Other
	}
}
