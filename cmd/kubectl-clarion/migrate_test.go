package main

import (
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// run runs the plugin as a person does, and returns what it prints.
func run(t *testing.T, in string, args ...string) (out, errOut string, err error) {
	t.Helper()
	streams, stdin, stdout, stderr := genericiooptions.NewTestIOStreams()
	stdin.WriteString(in)
	c := command(streams)
	c.SetArgs(args)
	err = c.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

func TestMigrationPrintsObjectsAndSaysWhatToKnow(t *testing.T) {
	out, report, err := run(t, "", "migrate", "metallb", "--from-file", "metallb/testdata/resources.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "kind: IPAddressPool") || strings.Contains(out, "Differs") {
		t.Errorf("objects:\n%s", out)
	}
	for _, heading := range []string{"Has no counterpart:\n", "To be done by hand:\n", "Differs:\n", "Values to install", "--ignore-exclude-label"} {
		if !strings.Contains(report, heading) {
			t.Errorf("no %q in the report:\n%s", heading, report)
		}
	}
}

func TestMigrationReadsStandardInput(t *testing.T) {
	out, report, err := run(t, "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all}\n", "migrate", "metallb", "-f", "-")
	if err != nil || !strings.Contains(out, "name: all") || report != "" {
		t.Errorf("%q, %q, %v", out, report, err)
	}
}

func TestMigrationOfNothingIsAnError(t *testing.T) {
	for _, in := range []string{"", "kind: List\napiVersion: v1\n", "kind: Pod\napiVersion: v1\n"} {
		if out, _, err := run(t, in, "migrate", "metallb", "-f", "-"); err == nil || out != "" {
			t.Errorf("%q: %q, %v", in, out, err)
		}
	}
	if _, _, err := run(t, "{[", "migrate", "metallb", "-f", "-"); err == nil {
		t.Error("what is not YAML was read")
	}
}
