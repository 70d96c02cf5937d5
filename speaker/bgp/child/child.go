package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/speaker/bgp"
)

// Main is the whole life of the child process, and its exit code.
func Main() int {
	// The parent says when to stop; a terminal's signals are for it.
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	border := os.NewFile(bgp.ChildFD, "border")
	conn, err := net.FileConn(border)
	border.Close()
	if err != nil {
		fmt.Fprintln(os.Stderr, bgp.ChildName+" is started by clarion-speaker, and by nobody else:", err)
		return 2
	}
	if err := Run(context.Background(), conn); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Run carries out orders until the border closes, or a Stop is carried out. The end of the border means that
// the parent is gone: the connections close without a word, so that routers with graceful restart keep the
// routes for the next speaker.
func Run(ctx context.Context, border io.ReadWriteCloser) error {
	return run(ctx, border, kernel{})
}

func run(ctx context.Context, border io.ReadWriteCloser, n network) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	c := &children{
		ctx: ctx, network: n, begin: time.Now(), running: &running,
		sessions: map[string]*session{}, holds: map[string]string{}, out: newReporter(),
	}
	reporting := make(chan error, 1)
	go func() { reporting <- c.out.write(ctx, border) }()

	orders := make(chan bgp.Order)
	reading := make(chan error, 1)
	go func() { reading <- read(border, orders, ctx.Done()) }()
	for {
		select {
		case o := <-orders:
			c.carryOut(&o)
			if o.Ping != 0 {
				c.out.pong(o.Ping)
			}
		case <-c.out.stopped:
			c.closing.Wait()
			c.out.finish()
			if err := <-reporting; err != nil {
				return err
			}
			<-reading // the parent closes the border when it has heard that
			return nil
		case err := <-reading:
			return err
		case err := <-reporting:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func read(border io.Reader, orders chan<- bgp.Order, done <-chan struct{}) error {
	decoder := json.NewDecoder(border)
	for {
		var o bgp.Order
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		select {
		case orders <- o:
		case <-done:
			return nil
		}
	}
}

// children are the sessions that there are. Run's goroutine has them.
type children struct {
	ctx      context.Context // Run's: sessions begin in the midst of it
	network  network
	begin    time.Time
	running  *sync.WaitGroup
	closing  sync.WaitGroup
	sessions map[string]*session
	holds    map[string]string
	out      *reporter
}

// carryOut does what an order says. What it says of one session reaches it before that does anything more.
func (c *children) carryOut(o *bgp.Order) {
	for _, name := range o.Gone {
		if s := c.sessions[name]; s != nil {
			s.post(end(stop{deconfigured: true}))
			delete(c.sessions, name)
		}
	}
	var fresh []*session
	for _, p := range o.Peers {
		if old := c.sessions[p.Name]; old != nil {
			old.post(configure(p))
			continue
		}
		s := newSession(p, c.network, c.begin, &c.closing, nil)
		s.report = func(status bgp.Session) { c.out.session(s, status) }
		c.sessions[p.Name] = s
		c.out.begin(p.Name, s)
		if why := c.holds[p.Name]; why != "" {
			s.post(holdDown(why))
		}
		fresh = append(fresh, s)
	}
	for i := range o.Routes {
		change := &o.Routes[i]
		for _, name := range change.Peers {
			if s := c.sessions[name]; s != nil {
				s.post(route(change.Upsert, change.Remove))
			}
		}
	}
	for _, h := range o.Holds {
		if h.Why == "" {
			delete(c.holds, h.Peer)
		} else {
			c.holds[h.Peer] = h.Why
		}
		if s := c.sessions[h.Peer]; s != nil {
			s.post(holdDown(h.Why))
		}
	}
	// A session begins when all its routes are in: the first thing a router hears is the whole.
	for _, s := range fresh {
		c.running.Go(func() {
			s.run(c.ctx)
			c.out.over(s)
		})
	}
	if o.Stop != nil {
		for _, s := range c.sessions {
			s.post(end(stop{Stop: *o.Stop}))
		}
		c.out.stopWhenOver()
	}
}
