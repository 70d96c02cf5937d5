package lab

import (
	"context"
	"crypto/x509/pkix"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/clarion-lb/clarion/e2e/lab/pki"
)

// Names of the control plane's processes.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// issueCertificates makes all certificates and kubeconfigs of the cluster.
// A kubelet's needs no approval: it is a member of system:nodes, which the Node
// authorizer and the NodeRestriction admission plugin know.
func (l *Lab) issueCertificates() (*pki.Authority, error) {
	a, err := pki.New(l.pkiDir())
	if err != nil {
		return nil, err
	}
	place := lanAddresses(controlPlace)
	reachedAs := []netip.Addr{
		place[0].Addr(), place[1].Addr(), netip.MustParseAddr("127.0.0.1"),
		ServicesV4.Addr().Next(), ServicesV6.Addr().Next(), // the kubernetes Service
	}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if err := a.Server("apiserver", pkix.Name{CommonName: "kube-apiserver"}, names, reachedAs); err != nil {
		return nil, err
	}
	if err := a.SigningKey("service-accounts"); err != nil {
		return nil, err
	}
	users := []struct{ name, user, group string }{
		{"admin", "admin", "system:masters"},
		{ControllerManager, "system:kube-controller-manager", ""},
		{Scheduler, "system:kube-scheduler", ""},
		{KubeProxy, "system:kube-proxy", ""},
	}
	for i := 1; i <= l.Options.Nodes; i++ {
		node := nodeName(i)
		users = append(users, struct{ name, user, group string }{node, "system:node:" + node, "system:nodes"})
		var ips []netip.Addr
		for _, a := range lanAddresses(nodePlace(i)) {
			ips = append(ips, a.Addr())
		}
		subject := pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
		if err := a.Server(node+"-serving", subject, []string{node}, ips); err != nil {
			return nil, err
		}
	}
	for _, u := range users {
		var groups []string
		if u.group != "" {
			groups = []string{u.group}
		}
		if err := a.Client(u.name, u.user, groups...); err != nil {
			return nil, err
		}
		if err := a.Kubeconfig(l.kubeconfig(u.name), l.apiServer(), u.name); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// apiServer is where the API server listens.
func (l *Lab) apiServer() string {
	return "https://" + netip.AddrPortFrom(lanAddresses(controlPlace)[0].Addr(), 6443).String()
}

// addControlPlane adds the host cp and returns when the API server is ready.
func (l *Lab) addControlPlane(ctx context.Context, certificates *pki.Authority) error {
	h, err := l.AddHost(ctx, HostSpec{
		Name:       controlName,
		Interfaces: []Interface{{Segment: lanName, Addresses: lanAddresses(controlPlace)}},
		Routes:     podRoutes(l.Options.Nodes, 0),
		Forward:    true,
	})
	if err != nil {
		return err
	}
	return l.startControlPlane(ctx, h, certificates)
}

func (l *Lab) startControlPlane(ctx context.Context, h *Host, a *pki.Authority) error {
	err := h.Start(ctx, Process{Name: Etcd, Restart: true, Args: []string{
		"etcd",
		"--data-dir", h.file("etcd"),
		"--unsafe-no-fsync",
		"--log-level", "warn",
		"--quota-backend-bytes", "4294967296",
	}})
	if err != nil {
		return err
	}
	err = h.Start(ctx, Process{Name: APIServer, Restart: true, Args: []string{
		"kube-apiserver",
		"--etcd-servers", "http://127.0.0.1:2379",
		"--advertise-address", h.IPv4().String(),
		"--service-cluster-ip-range", ServicesV4.String() + "," + ServicesV6.String(),
		"--allow-privileged=true",
		"--anonymous-auth=false",
		"--authorization-mode", "Node,RBAC",
		"--enable-admission-plugins", "NodeRestriction",
		"--client-ca-file", a.CA(),
		"--requestheader-client-ca-file", a.CA(), // nobody has that name; without a CA the others complain
		"--requestheader-allowed-names", "front-proxy",
		"--tls-cert-file", a.Cert("apiserver"),
		"--tls-private-key-file", a.Key("apiserver"),
		"--kubelet-preferred-address-types", "InternalIP",
		"--kubelet-certificate-authority", a.CA(),
		"--kubelet-client-certificate", a.Cert("admin"),
		"--kubelet-client-key", a.Key("admin"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", a.PublicKey("service-accounts"),
		"--service-account-signing-key-file", a.Key("service-accounts"),
	}})
	if err != nil {
		return err
	}
	// The other two give up for good when they come before the API server has
	// its own roles in place, which is part of being ready.
	if err := l.waitAPIServer(ctx); err != nil {
		return err
	}
	manager := []string{
		"kube-controller-manager",
		"--kubeconfig", l.kubeconfig(ControllerManager),
		"--authentication-kubeconfig", l.kubeconfig(ControllerManager),
		"--authorization-kubeconfig", l.kubeconfig(ControllerManager),
		"--bind-address", "127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--root-ca-file", a.CA(),
		"--service-account-private-key-file", a.Key("service-accounts"),
		// Every controller asks for a token of its own first, and none of them
		// should be what a measurement waits for.
		"--kube-api-qps", "1000",
		"--kube-api-burst", "2000",
		"--flex-volume-plugin-dir", filepath.Join(h.dir(), "flex"), // it would make one in /usr/libexec
	}
	if l.Options.FastNodeFailure {
		manager = append(manager, "--node-monitor-grace-period", fastGrace.String(), "--node-monitor-period", fastMonitorPeriod.String())
	}
	if err := h.Start(ctx, Process{Name: ControllerManager, Restart: true, Args: manager}); err != nil {
		return err
	}
	return h.Start(ctx, Process{Name: Scheduler, Restart: true, Args: []string{
		"kube-scheduler",
		"--kubeconfig", l.kubeconfig(Scheduler),
		"--authentication-kubeconfig", l.kubeconfig(Scheduler),
		"--authorization-kubeconfig", l.kubeconfig(Scheduler),
		"--bind-address", "127.0.0.1",
		"--leader-elect=false",
		"--kube-api-qps", "1000",
		"--kube-api-burst", "2000",
	}})
}

// apiServerPatience is how long the API server may take to get ready on a busy
// machine.
const apiServerPatience = 2 * time.Minute
