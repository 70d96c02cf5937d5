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

// TestMigrationOfWhatPeopleHaveInFiles: files are not what an API server returns.
func TestMigrationOfWhatPeopleHaveInFiles(t *testing.T) {
	const pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: lan}\nspec: {addresses: [192.0.2.0/24]}\n"
	for name, row := range map[string]struct{ in, out, report, err string }{
		"comments, and nothing between two lines": {in: "# ours\n---\n# later\n---\n" + pool + "---\nnull\n---\n", out: "name: lan"},
		"a list as kubectl prints it":             {in: "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: all}}\n", out: "name: all"},
		"a kind's own list":                       {in: "apiVersion: metallb.io/v1beta1\nkind: IPAddressPoolList\nitems:\n- metadata: {name: x}\n  spec: {addresses: [192.0.2.0/24]}\n", out: "name: x"},
		"documents of JSON":                       {in: `{"apiVersion":"metallb.io/v1beta1","kind":"L2Advertisement","metadata":{"name":"j"}}{"apiVersion":"v1","kind":"Pod"}`, out: "name: j"},
		"line ends of Windows":                    {in: strings.ReplaceAll(pool+"---\n"+pool, "\n", "\r\n"), out: "name: lan"},
		"what stood in the ConfigMap":             {in: "address-pools:\n- {name: default, protocol: layer2, addresses: [192.0.2.0/24]}\n", out: "kind: L2Advertisement"},
		"values of the old chart":                 {in: "configInline:\n  address-pools:\n  - {name: default, protocol: layer2, addresses: [192.0.2.0/24]}\n", out: "kind: L2Advertisement"},
		"the same object twice":                   {in: pool + "---\n" + pool, out: "name: lan"},
		"two of one name": {in: pool + "---\n" + strings.ReplaceAll(strings.ReplaceAll(pool, "192.0.2", "198.51.100"), "lan}", "lan, namespace: b}"),
			out: "198.51.100.0/24", report: "IPAddressPool/lan, metadata.name: there are several of that name"},
		"an address that is none":      {in: strings.ReplaceAll(pool, "192.0.2.0/24", "192.0.2.9-192.0.2.1, lan"), out: "name: lan", report: "correct it, or the pool can't be used"},
		"addresses that are no list":   {in: strings.ReplaceAll(pool, "[192.0.2.0/24]", "192.0.2.0/24"), out: "name: lan", report: "192.0.2.0/24 is no list"},
		"a spec that is none":          {in: strings.ReplaceAll(pool, "{addresses: [192.0.2.0/24]}", "[lan]"), out: "name: lan", report: "spec: it is no object"},
		"an object without a name":     {in: strings.ReplaceAll(pool, "{name: lan}", "{}"), out: "192.0.2.0/24", report: "give it one"},
		"a kind that is not known":     {in: "apiVersion: metallb.io/v1\nkind: Galaxy\nmetadata: {name: x}\n", report: "Galaxy/x: not a kind of MetalLB's"},
		"a template":                   {in: strings.ReplaceAll(pool, "name: lan", "name: {{ .Values.pool }}"), err: "document 1 can't be read, as there are template's marks ({{) in it: give what helm template"},
		"a template that flows":        {in: "{{- if .Values.pool }}\n" + pool + "{{- end }}\n", err: "helm template"},
		"a chart's values":             {in: "crds: {enabled: true}\n", err: "document 1 can't be read: it has no kind"},
		"text":                         {in: pool + "---\nhello\n", err: "document 2 can't be read: it is no object"},
		"a list of YAML's":             {in: "- " + strings.ReplaceAll(pool, "\n", "\n  "), err: "it is no object"},
		"a broken line":                {in: "apiVersion: v1\n\tkind: x\n", err: "document 1 can't be read"},
		"a kind that is not even text": {in: "kind: [a]\n", err: "document 1 can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			out, report, err := run(t, row.in, "migrate", "metallb", "-f", "-")
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) || out != "" {
					t.Errorf("%v, want %q; %s", err, row.err, out)
				}
				return
			}
			if err != nil || !strings.Contains(out, row.out) || !strings.Contains(report, row.report) || name == "the same object twice" && strings.Count(out, "name: lan") != 1 {
				t.Errorf("%v, want %q and %q:\n%s\n%s", err, row.out, row.report, out, report)
			}
		})
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
