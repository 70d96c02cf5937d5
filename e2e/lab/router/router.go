package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clarion-lb/clarion/e2e/lab/supply"
)

// Kind is which program a router is.
type Kind string

// Kinds of routers.
const (
	FRR  Kind = "frr"
	BIRD Kind = "bird"
)

// Kinds are all of them, for tests that want each.
var Kinds = []Kind{FRR, BIRD}

// Place is where a router runs: a [Namespace], or a host of the lab.
type Place interface {
	// Launch starts a process of that name, whose output goes to a log.
	Launch(ctx context.Context, name string, argv []string) error
	// Restart starts a process again that ended.
	Restart(ctx context.Context, name string) error
	// Signal sends a signal to a process.
	Signal(ctx context.Context, name string, s unix.Signal) error
	// Stop ends a process: SIGTERM, and SIGKILL after the grace.
	Stop(ctx context.Context, name string, grace time.Duration) error
	// Exec runs a command to its end and returns what it said.
	Exec(ctx context.Context, argv ...string) (string, error)
}

// Spec is what a router is.
type Spec struct {
	// Name tells routers of one place apart. Default: the kind.
	Name string
	Kind Kind
	// Config is frr.conf's or bird.conf's content.
	Config string
	// Dir is an existing directory for sockets and configuration, with a path of at most 60 characters.
	Dir string
}

// Router is a router that runs.
type Router struct {
	Spec
	place    Place
	programs supply.Routers
	// daemons are its processes in the order in which they start.
	daemons []string
}

// Daemons of FRR.
const (
	Zebra = "zebra"
	BGPd  = "bgpd"
	BFDd  = "bfdd"
)

// Bird is BIRD's only process.
const Bird = "bird"

// patience is how long a router may take to come up.
const patience = 20 * time.Second

// Start starts a router and returns when it has its configuration.
func Start(ctx context.Context, place Place, spec Spec) (*Router, error) {
	if spec.Name == "" {
		spec.Name = string(spec.Kind)
	}
	programs, err := supply.GetRouters(ctx, nil)
	if err != nil {
		return nil, err
	}
	r := &Router{Spec: spec, place: place, programs: programs}
	switch spec.Kind {
	case FRR:
		r.daemons = []string{Zebra, BGPd, BFDd}
		err = r.writeAccounts()
	case BIRD:
		r.daemons = []string{Bird}
		err = r.writeConfig()
	default:
		err = fmt.Errorf("no kind of router is called %q", spec.Kind)
	}
	if err != nil {
		return nil, err
	}
	for _, d := range r.daemons {
		if err := place.Launch(ctx, r.process(d), r.command(d)); err != nil {
			return nil, fmt.Errorf("start %s: %w", r.process(d), err)
		}
		if err := r.waitDaemon(ctx, d); err != nil {
			return nil, err
		}
	}
	return r, r.load(ctx)
}

func (r *Router) process(daemon string) string { return r.Name + "-" + daemon }

func (r *Router) file(name string) string { return filepath.Join(r.Dir, r.Name+"-"+name) }

func (r *Router) configFile() string { return r.file("conf") }

func (r *Router) program(path string) string { return filepath.Join(r.programs.Dir, path) }

// command starts a daemon with the libraries that came with it.
func (r *Router) command(daemon string) []string {
	env := []string{"env", "LD_LIBRARY_PATH=" + r.programs.Libraries()}
	if r.Kind == BIRD {
		// Started again, BIRD recovers what graceful restart has kept, where its configuration has that.
		script := `if [ -e "$1" ]; then again=-R; fi; : >"$1"; shift; exec "$@" $again`
		shell := []string{"sh", "-ec", script, "sh", r.file("begun")}
		return append(append(shell, env...), r.program("usr/sbin/bird"), "-f", "-c", r.configFile(), "-s", r.file("ctl"), "-P", r.file("pid"))
	}
	frr := []string{r.program("usr/lib/frr/" + daemon), "-u", "root", "-g", "root", "--vty_socket", r.Dir,
		"-z", r.file("zserv"), "-i", r.file(daemon + ".pid"), "-f", "/dev/null", "-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "informational"}
	if daemon == BFDd {
		frr = append(frr, "--bfdctl", r.file("bfdctl"))
	}
	// FRR insists on an account and a group of its own, and on directories below /run
	// and /var/tmp.
	script := `mount --bind "$1" /etc/passwd; mount --bind "$2" /etc/group; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/tmp; mkdir -p /run/frr; shift 2; exec "$@"`
	shell := []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh", r.file("passwd"), r.file("group")}
	return append(shell, append(env, frr...)...)
}

// writeAccounts makes this machine's accounts with FRR's among them.
func (r *Router) writeAccounts() error {
	// vtysh would ask for a password.
	if err := os.WriteFile(filepath.Join(r.Dir, "vtysh.conf"), []byte("username root nopassword\n"), 0o644); err != nil {
		return err
	}
	for _, f := range []struct{ name, more string }{
		{"passwd", "frr:x:199:199::/nonexistent:/usr/sbin/nologin\n"},
		{"group", "frr:x:199:\nfrrvty:x:198:root\n"},
	} {
		content, err := os.ReadFile("/etc/" + f.name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(r.file(f.name), append(content, f.more...), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) writeConfig() error {
	return os.WriteFile(r.configFile(), []byte(r.Config), 0o644)
}

// waitDaemon returns when a daemon takes commands.
func (r *Router) waitDaemon(ctx context.Context, daemon string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var err error
		if r.Kind == BIRD {
			_, err = r.Show(ctx, "show status")
		} else {
			var out string
			// vtysh ends well also where it found nobody to ask.
			if out, err = r.vtysh(ctx, "-d", daemon, "-c", "show version"); err == nil && !strings.Contains(out, "FRRouting") {
				err = errors.New(strings.TrimSpace(out))
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s takes no commands: %w", r.process(daemon), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// load gives the router its configuration.
func (r *Router) load(ctx context.Context) error {
	if r.Kind == BIRD {
		return nil // it began with it
	}
	if err := r.writeConfig(); err != nil {
		return err
	}
	out, err := r.vtysh(ctx, "-f", r.configFile())
	if err == nil && strings.Contains(out, "Unknown command") || strings.Contains(out, "Command incomplete") {
		err = errors.New(strings.TrimSpace(out))
	}
	if err != nil {
		return fmt.Errorf("configure %s: %w", r.Name, err)
	}
	return nil
}

// Configure changes the configuration: BIRD gets a new one, FRR gets what is
// written on top of what it has.
func (r *Router) Configure(ctx context.Context, config string) error {
	r.Config = config
	if r.Kind == FRR {
		return r.load(ctx)
	}
	if err := r.writeConfig(); err != nil {
		return err
	}
	out, err := r.Show(ctx, "configure")
	if err == nil && !strings.Contains(out, "Reconfigur") {
		err = errors.New(strings.TrimSpace(out))
	}
	return err
}

func (r *Router) vtysh(ctx context.Context, args ...string) (string, error) {
	argv := []string{"env", "LD_LIBRARY_PATH=" + r.programs.Libraries(), "HOME=/nonexistent", r.program("usr/bin/vtysh"), "--vty_socket", r.Dir, "--config_dir", r.Dir}
	return r.place.Exec(ctx, append(argv, args...)...)
}

// Show asks the router something: FRR by vtysh, BIRD by birdc. Further
// commands follow in the same session, which FRR's configuration needs.
func (r *Router) Show(ctx context.Context, commands ...string) (string, error) {
	if r.Kind == BIRD {
		argv := []string{"env", "LD_LIBRARY_PATH=" + r.programs.Libraries(), r.program("usr/sbin/birdc"), "-s", r.file("ctl")}
		return r.place.Exec(ctx, append(argv, commands...)...)
	}
	var args []string
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return r.vtysh(ctx, args...)
}

// ShowJSON asks FRR something and reads the answer.
func (r *Router) ShowJSON(ctx context.Context, command string, into any) error {
	out, err := r.Show(ctx, command)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("%q says %q: %w", command, out, err)
	}
	return nil
}

// Kill ends a daemon as a crash does: BGPd and BFDd of FRR, Bird of BIRD.
func (r *Router) Kill(ctx context.Context, daemon string) error {
	return r.place.Signal(ctx, r.process(daemon), unix.SIGKILL)
}

// Freeze has a daemon starve, and Thaw ends it.
func (r *Router) Freeze(ctx context.Context, daemon string) error {
	return r.place.Signal(ctx, r.process(daemon), unix.SIGSTOP)
}

// Thaw ends Freeze.
func (r *Router) Thaw(ctx context.Context, daemon string) error {
	return r.place.Signal(ctx, r.process(daemon), unix.SIGCONT)
}

// Revive starts a daemon again that was killed or stopped, and configures it.
func (r *Router) Revive(ctx context.Context, daemon string) error {
	if err := r.place.Restart(ctx, r.process(daemon)); err != nil {
		return err
	}
	if err := r.waitDaemon(ctx, daemon); err != nil {
		return err
	}
	return r.load(ctx)
}

// Stop ends the router as its operator would.
func (r *Router) Stop(ctx context.Context) error {
	var errs []error
	for i := len(r.daemons) - 1; i >= 0; i-- {
		errs = append(errs, r.place.Stop(ctx, r.process(r.daemons[i]), 5*time.Second))
	}
	return errors.Join(errs...)
}
