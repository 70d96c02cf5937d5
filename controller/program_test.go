package controller

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// built is the program, built once; builtIn is where, to be removed at the end.
var (
	builtIn string
	built   = sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "clarion-controller-")
		if err != nil {
			return "", err
		}
		builtIn = dir
		path := filepath.Join(dir, "clarion-controller")
		if out, err := exec.Command("go", "build", "-o", path, "../cmd/clarion-controller").CombinedOutput(); err != nil {
			return "", fmt.Errorf("building the controller: %w\n%s", err, out)
		}
		return path, nil
	})
)

// program is a controller that runs as users run it: a process of its own.
type program struct {
	testing.TB
	cmd  *exec.Cmd
	logs lockedBuffer
	once sync.Once
}

// startProgram starts a controller that goes to an API server, until it is ended or the test ends.
func startProgram(tb testing.TB, to *rest.Config, args ...string) *program {
	tb.Helper()
	path, err := built()
	if err != nil {
		tb.Fatal(err)
	}
	kubeconfig := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(kubeconfigOf(to), kubeconfig); err != nil {
		tb.Fatal(err)
	}
	p := &program{TB: tb}
	p.cmd = exec.Command(path, append([]string{"--kubeconfig=" + kubeconfig,
		"--metrics-bind-address=0", "--health-bind-address=0", "--log-format=text"}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr = &p.logs, &p.logs
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.kill)
	return p
}

func kubeconfigOf(c *rest.Config) clientcmdapi.Config {
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Token: c.BearerToken}
	k.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	k.CurrentContext = "c"
	return *k
}

// leads waits until the controller leads, has adopted what there is, and can write.
func (p *program) leads() {
	p.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(p.logs.String(), "msg=leading") {
			return
		}
	}
	p.Fatalf("it does not lead\n%s", p.logs.String())
}

func (p *program) stop() { p.end(syscall.SIGTERM) }
func (p *program) kill() { p.end(syscall.SIGKILL) }

// freeze and thaw stop the process wherever it is, and have it go on.
func (p *program) freeze() { p.signal(syscall.SIGSTOP) }
func (p *program) thaw()   { p.signal(syscall.SIGCONT) }

func (p *program) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatalf("the controller has ended by itself: %v\n%s", err, p.logs.String())
	}
}

func (p *program) end(s os.Signal) {
	p.Helper()
	p.once.Do(func() {
		p.signal(s)
		if err := p.cmd.Wait(); err != nil && s != syscall.SIGKILL {
			p.Errorf("the controller ended with %v\n%s", err, p.logs.String())
		}
	})
}

// peakMemory is the most that the process had resident, in MiB.
func (p *program) peakMemory() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}

// lockedBuffer is written by a process and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// detour is a way to the API server on which things get stuck.
type detour struct {
	server *httptest.Server
	direct http.RoundTripper

	mu   sync.Mutex
	hold bool            // writes of Services' status
	only string          // those alone that contain it
	held []*http.Request // and never answered
	jam  chan struct{}   // what is followed of Services stops while it is open; nil when it flows
}

func newDetour(t *testing.T) *detour {
	t.Helper()
	direct, err := rest.TransportFor(apiServer)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(apiServer.Host)
	if err != nil {
		t.Fatal(err)
	}
	d := &detour{direct: direct}
	proxy := &httputil.ReverseProxy{
		Transport:     direct,
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if strings.HasSuffix(r.Request.URL.Path, "/api/v1/services") && r.Request.URL.Query().Get("watch") != "" {
				r.Body = &jammed{r.Body, d}
			}
			return nil
		},
	}
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.holds(r) {
			proxy.ServeHTTP(w, r)
			return
		}
		<-r.Context().Done() // the client waits for an answer
	}))
	t.Cleanup(d.server.Close)
	t.Cleanup(d.server.CloseClientConnections)
	return d
}

// config is how to get to the API server by the detour.
func (d *detour) config() *rest.Config { return &rest.Config{Host: d.server.URL, QPS: -1} }

// holds keeps a write that is to be held.
func (d *detour) holds(r *http.Request) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.hold || r.Method != http.MethodPatch || !strings.Contains(r.URL.Path, "/services/") {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !strings.Contains(string(body), d.only) {
		return false
	}
	late, err := http.NewRequest(r.Method, strings.TrimSuffix(apiServer.Host, "/")+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	late.Header = r.Header.Clone()
	d.held = append(d.held, late)
	return true
}

func (d *detour) holdWrites(hold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = hold
}

// holdAddresses holds the writes that give Services addresses.
func (d *detour) holdAddresses() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold, d.only = true, `"ingress":[{`
}

func (d *detour) stuck() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// deliver lets the writes that were held come to the API server, and returns what it says to each.
func (d *detour) deliver(t *testing.T) (codes []int) { return d.deliverSome(t, d.stuck()) }

// deliverSome lets the first few of the writes that were held come to the API server.
func (d *detour) deliverSome(t *testing.T, n int) (codes []int) {
	t.Helper()
	d.mu.Lock()
	held := d.held[:n]
	d.held = d.held[n:]
	d.mu.Unlock()
	for _, r := range held {
		answer, err := d.direct.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		codes = append(codes, answer.StatusCode)
	}
	return codes
}

// jamServices keeps from the client what happens to Services, until flow.
func (d *detour) jamServices() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.jam = make(chan struct{})
}

func (d *detour) flow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.jam)
	d.jam = nil
}

type jammed struct {
	io.ReadCloser
	d *detour
}

func (j *jammed) Read(b []byte) (int, error) {
	n, err := j.ReadCloser.Read(b)
	j.d.mu.Lock()
	jam := j.d.jam
	j.d.mu.Unlock()
	if jam != nil {
		<-jam
	}
	return n, err
}
