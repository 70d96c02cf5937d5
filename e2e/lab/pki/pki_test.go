package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestCertificatesAreGoodForWhatTheyAreFor(t *testing.T) {
	a, err := New(filepath.Join(t.TempDir(), "pki"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Server("apiserver", pkix.Name{CommonName: "kube-apiserver"}, []string{"kubernetes"}, []netip.Addr{netip.MustParseAddr("10.99.0.10"), netip.MustParseAddr("fd99::10")}); err != nil {
		t.Fatal(err)
	}
	if err := a.Client("node1", "system:node:node1", "system:nodes"); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(a.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("ca.crt has no certificate")
	}
	leaf := func(name string) *x509.Certificate {
		t.Helper()
		pair, err := tls.LoadX509KeyPair(a.Cert(name), a.Key(name))
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}

	server := leaf("apiserver")
	for _, name := range []string{"kubernetes", "10.99.0.10", "fd99::10"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("server as %s: %v", name, err)
		}
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: "10.99.0.11"}); err == nil {
		t.Error("the server's certificate is good for another's address")
	}

	client := leaf("node1")
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if client.Subject.CommonName != "system:node:node1" || len(client.Subject.Organization) != 1 || client.Subject.Organization[0] != "system:nodes" {
		t.Errorf("the client is %s", client.Subject)
	}
}

func TestKubeconfigIsWhole(t *testing.T) {
	dir := t.TempDir()
	a, err := New(filepath.Join(dir, "pki"))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Client("admin", "admin", "system:masters"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "kubeconfig")
	if err := a.Kubeconfig(file, "https://10.99.0.10:6443", "admin"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "pki")); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://10.99.0.10:6443" || len(config.CertData) == 0 || len(config.KeyData) == 0 || len(config.CAData) == 0 {
		t.Errorf("something is missing in %+v", config.TLSClientConfig)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
