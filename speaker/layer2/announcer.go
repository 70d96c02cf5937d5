package layer2

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Options are an Announcer's settings. The zero value is ready for use.
type Options struct {
	// Logger gets a few lines about interfaces that come, go and fail; nobody
	// when nil.
	Logger *slog.Logger
	// GratuitousRate is how many gratuitous frames leave each interface in a
	// second at most. Default 2,000. Answers are not limited by it.
	GratuitousRate int
	// RefreshInterval is how often each address is announced once more though
	// nothing has changed, give or take a quarter; default a minute, and never
	// if negative. Frames get lost, switches forget the port of a MAC that sends
	// little, and somebody else may have announced the address by mistake:
	// clients that were misled find their way back without being asked. The
	// refreshes of many addresses are spread evenly over the interval, 5 addresses a second at
	// most on each interface and family: of more than 300 each comes round less often than once a minute.
	RefreshInterval time.Duration
	// HoldAfterGap has the Announcer stop answering and announcing, as by Hold, when this
	// process or its machine did not run for over a second. It is for speakers that call
	// Awake.
	HoldAfterGap bool
	// Rival, if not nil, is called when another node is seen to claim an address that this one has, at most
	// once a second for each segment: the two may have been apart. It must not wait.
	Rival func(iface string, address netip.Addr, mac MAC)
}

// DefaultGratuitousRate is the default of [Options.GratuitousRate].
const DefaultGratuitousRate = 2000

// DefaultRefreshInterval is the default of [Options.RefreshInterval].
const DefaultRefreshInterval = time.Minute

// An Announcer answers for addresses on this node's links. Make one with [New],
// start it with Run; all methods may be called at any time from any goroutine.
type Announcer struct {
	log      *slog.Logger
	rate     int
	refresh  time.Duration
	open     openFunc
	watch    watchFunc
	counters *counters

	// apply serializes writers of answers. Readers load it.
	apply   sync.Mutex
	answers atomic.Pointer[answers]

	links published[[]Link]
	state published[State]

	// reannounce counts the calls of Reannounce.
	reannounce atomic.Uint64
	again      again

	// holding is whether nothing is answered, and wakes counts how often that ended. beat is when
	// the process was seen to run last, since born; zero before Run.
	holding      atomic.Bool
	wakes        atomic.Uint64
	holdAfterGap bool
	born         time.Time
	beat         atomic.Int64
	// beatLock guards boot, the time since the machine was started at the last beat, and nextBeat, when the next one is due.
	beatLock sync.Mutex
	boot     time.Duration
	nextBeat *time.Timer

	rival func(iface string, address netip.Addr, mac MAC)
	// sinceBoot is the time since the machine was started.
	sinceBoot func() time.Duration

	// atWork are the responders that run.
	atWork atomic.Pointer[[]*responder]

	askersLock sync.Mutex
	askers     map[segment]*askers

	knownLock  sync.Mutex
	publishing []MAC             // as SetKnown last said
	published  map[MAC]time.Time // when each was published last
	known      atomic.Pointer[map[MAC]bool]

	// changed has room for one note to the owner that answers, reannounce or
	// what responders have in force is new.
	changed chan struct{}
}

// New returns an Announcer that announces nothing yet.
func New(o Options) *Announcer {
	a := &Announcer{
		log:      o.Logger,
		rate:     o.GratuitousRate,
		refresh:  o.RefreshInterval,
		open:     openPort,
		watch:    watchLinks,
		counters: newCounters(),
		changed:  make(chan struct{}, 1),

		sinceBoot:    sinceBoot,
		rival:        o.Rival,
		holdAfterGap: o.HoldAfterGap,
		born:         time.Now(),
		askers:       make(map[segment]*askers),
		published:    make(map[MAC]time.Time),
	}
	a.atWork.Store(new([]*responder))
	a.known.Store(new(map[MAC]bool))
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.rate <= 0 {
		a.rate = DefaultGratuitousRate
	}
	if a.refresh == 0 {
		a.refresh = DefaultRefreshInterval
	}
	a.answers.Store(new(answers))
	a.links.init(nil)
	a.state.init(State{})
	return a
}

// Apply sets what is to be announced from now on, in full: what is no longer
// desired is withdrawn. Announcements of one address are united; where one says
// the interface's own MAC and another a foreign one, the own MAC holds. It
// may be called before Run. Apply keeps nothing of desired.
func (a *Announcer) Apply(desired []Announcement) Changes {
	return a.revise(func(now answers) (answers, Changes, bool) { return now.next(desired) })
}

// Change is Apply for some addresses: desired are their announcements, in full, and those of all other addresses stay as they
// are. It costs little more than these addresses do, however many others there are.
func (a *Announcer) Change(addresses []netip.Addr, desired []Announcement) Changes {
	return a.revise(func(now answers) (answers, Changes, bool) { return now.change(addresses, desired) })
}

func (a *Announcer) revise(by func(answers) (answers, Changes, bool)) Changes {
	a.apply.Lock()
	defer a.apply.Unlock()
	next, changes, changed := by(*a.answers.Load())
	if changed {
		a.answers.Store(&next)
		a.poke()
	}
	return changes
}

// Reannounce announces the given addresses, or with none given every one, once more if they are answered here, in one
// round: for when somebody else may have announced them by mistake, and clients
// follow that. It keeps to the pace of [Options.GratuitousRate], and addresses newly
// taken go first. An address that this node stands in for is not announced. It
// returns at once; calls made before an address's round is sent are one.
func (a *Announcer) Reannounce(addresses ...netip.Addr) {
	a.again.add(addresses)
	a.reannounce.Add(1)
	a.poke()
}

// Links returns the Ethernet links of this node in order of name, and a channel
// that is closed when they have changed. The list is nil until Run has looked,
// and must not be modified. Loopback and ports of bridges, bonds and
// teams are left out; see [Select] for which of the rest make sense.
func (a *Announcer) Links() ([]Link, <-chan struct{}) { return a.links.load() }

// State returns what came of the announcements desired, and a channel that is
// closed when that has changed.
func (a *Announcer) State() (State, <-chan struct{}) { return a.state.load() }

// Counters returns the totals of what was answered, dropped and sent.
func (a *Announcer) Counters() Counters { return a.counters.snapshot() }

// poke tells the owner to look again.
func (a *Announcer) poke() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Run announces what Apply asks for, until ctx ends; then it returns nil. It
// returns an error only when going on makes no sense: the process may not open
// packet sockets (it lacks CAP_NET_RAW), or the platform has none. Links that
// are down or missing and everything else that may pass are waited for.
// Run may be called once.
func (a *Announcer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	o := newOwner(a)
	var (
		observations = make(chan []observed)
		watched      = make(chan struct{})
		watchErr     error
	)
	go func() {
		defer close(watched)
		watchErr = a.keepWatching(ctx, observations)
	}()
	var beating sync.WaitGroup
	if a.holdAfterGap {
		a.beginBeat()
		beating.Go(func() { a.keepBeat(ctx) })
	}
	defer func() {
		cancel()
		o.stopAll()
		<-watched
		beating.Wait()
	}()

	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watched:
			if watchErr != nil {
				return fmt.Errorf("watching links: %w", watchErr)
			}
			return nil
		case links := <-observations:
			o.observe(links)
		case e := <-o.ended:
			if err := o.conclude(time.Now(), e); err != nil {
				return err
			}
		case <-a.changed:
		case <-retry:
		}
		retry = o.reconcile(ctx, time.Now())
	}
}

// watchPause is how long to wait before watching links again after it failed.
const watchPause = time.Second

// keepWatching watches links until ctx ends, whatever happens to the watch. What
// is announced goes on meanwhile on the links last seen.
func (a *Announcer) keepWatching(ctx context.Context, out chan<- []observed) error {
	lines := rate.NewLimiter(rate.Every(journalEvery), journalBurst)
	for {
		err := a.watch(ctx, out)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if judge(err) == giveUp {
			return err
		}
		if lines.AllowN(time.Now(), 1) {
			a.log.Warn("cannot watch interfaces, will try again", "reason", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPause):
		}
	}
}
