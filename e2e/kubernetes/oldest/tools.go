//go:build tools

// Package oldest pins the oldest Kubernetes that Clarion runs on: its API
// server, on which tests that need nothing else are run, too.
package oldest

import _ "k8s.io/kubernetes/cmd/kube-apiserver/app"
