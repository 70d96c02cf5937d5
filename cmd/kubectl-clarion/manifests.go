package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// readFiles reads the objects of manifests; - is standard input.
func (p *program) readFiles(files []string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, file := range files {
		var content []byte
		var err error
		if file == "-" {
			content, err = io.ReadAll(p.In)
		} else {
			content, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, err
		}
		objects, err := objectsIn(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

// objectsIn reads a stream of YAML or JSON documents. What stood in MetalLB's ConfigMap of old is taken by itself, too, and as its chart's
// configInline.
func objectsIn(content []byte) (objects []unstructured.Unstructured, err error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for n := 1; ; n++ {
		var document json.RawMessage
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, unreadable(n, content, err)
		}
		if text := string(bytes.TrimSpace(document)); text == "" || text == "null" || text == "{}" {
			continue // comments alone
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(document, &fields); err != nil {
			return nil, unreadable(n, content, errors.New("it is no object"))
		}
		if inline, there := fields["configInline"]; there && fields["kind"] == nil {
			document = inline
			if err := json.Unmarshal(inline, &fields); err != nil {
				return nil, unreadable(n, content, errors.New("configInline is no object"))
			}
		}
		var object unstructured.Unstructured
		switch {
		case fields["kind"] == nil && (fields["address-pools"] != nil || fields["peers"] != nil):
			config, err := yaml.JSONToYAML(document)
			if err != nil {
				return nil, unreadable(n, content, err)
			}
			object.Object = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"config": string(config)}}
			object.SetName("config")
		case fields["kind"] == nil:
			return nil, unreadable(n, content, errors.New("it has no kind, so it is none of Kubernetes' objects; of a chart give what helm template makes of it"))
		default:
			if err := object.UnmarshalJSON(document); err != nil {
				return nil, unreadable(n, content, err)
			}
		}
		objects = append(objects, object)
	}
}

// unreadable says which document can't be read.
func unreadable(n int, content []byte, err error) error {
	if bytes.Contains(content, []byte("{{")) {
		return fmt.Errorf("document %d can't be read, as there are template's marks ({{) in it: give what helm template, or the like, makes of it (%w)", n, err)
	}
	return fmt.Errorf("document %d can't be read: %w", n, err)
}
