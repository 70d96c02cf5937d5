package web

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// closeWithin bounds how long connections may linger once the server no longer accepts new ones.
const closeWithin = 2 * time.Second

// Options are the server's settings.
type Options struct {
	// Listen are the addresses to serve on; ":8080" is every address of both families.
	Listen []string
	// Pod and Node are who it answers that it is.
	Pod, Node string
	// Drain is how long it goes on as if nothing had happened once it was told to stop, so that load balancers
	// have time to learn of it.
	Drain time.Duration
	// Ready, when given, is called with the addresses it serves on.
	Ready func([]net.Addr)
}

// Serve serves until ctx ends, then drains and closes what is open.
func Serve(ctx context.Context, o Options) error {
	// Requests end with the server, not with ctx: draining means to answer them.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := &http.Server{
		Handler:           Handler(o.Pod, o.Node),
		BaseContext:       func(net.Listener) context.Context { return serving },
		ReadHeaderTimeout: 10 * time.Second,
	}

	var listeners []net.Listener
	var addresses []net.Addr
	for _, address := range o.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return err
		}
		listeners, addresses = append(listeners, l), append(addresses, l.Addr())
	}
	var group errgroup.Group
	for _, l := range listeners {
		group.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				stop()
				return err
			}
			return nil
		})
	}
	if o.Ready != nil {
		o.Ready(addresses)
	}

	select {
	case <-ctx.Done():
		select {
		case <-time.After(o.Drain):
		case <-serving.Done():
		}
	case <-serving.Done(): // a listener failed
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	if server.Shutdown(closing) != nil {
		server.Close()
	}
	return group.Wait()
}
