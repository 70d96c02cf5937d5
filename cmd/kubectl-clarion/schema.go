package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/client-go/discovery"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

// openAPI is what matters here of an OpenAPI schema.
type openAPI struct {
	Properties map[string]openAPI `json:"properties"`
	Items      *openAPI           `json:"items"`
	Kinds      []struct {
		Kind string `json:"kind"`
	} `json:"x-kubernetes-group-version-kind"`
}

// shapes are what each kind says as this plugin knows it.
var shapes = map[string]reflect.Type{
	"IPAddressPool":    reflect.TypeFor[v1beta1.IPAddressPool](),
	"L2Advertisement":  reflect.TypeFor[v1beta1.L2Advertisement](),
	"BGPAdvertisement": reflect.TypeFor[v1beta1.BGPAdvertisement](),
	"BGPPeer":          reflect.TypeFor[v1beta1.BGPPeer](),
	"BFDProfile":       reflect.TypeFor[v1beta1.BFDProfile](),
	"Community":        reflect.TypeFor[v1beta1.Community](),
	"Speaker":          reflect.TypeFor[v1beta1.Speaker](),
}

// unknownFields returns the fields that this plugin knows and the API server's CRDs do not: those are of an older version, and what is
// written there is dropped. Everybody may read the schemas.
func unknownFields(found discovery.DiscoveryInterface) ([]string, error) {
	paths, err := found.OpenAPIV3().Paths()
	if err != nil {
		return nil, err
	}
	ours, there := paths["apis/"+v1beta1.GroupVersion.String()]
	if !there {
		return nil, nil
	}
	text, err := ours.Schema("application/json")
	if err != nil {
		return nil, err
	}
	var document struct {
		Components struct {
			Schemas map[string]openAPI `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("the API server's schemas: %w", err)
	}
	var out []string
	for _, s := range document.Components.Schemas {
		for _, k := range s.Kinds {
			if shape, known := shapes[k.Kind]; known {
				out = append(out, without(k.Kind, shape, s)...)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// without returns the paths of what a type has below spec and status, and a schema has not.
func without(path string, t reflect.Type, s openAPI) (out []string) {
	switch t.Kind() {
	case reflect.Pointer:
		return without(path, t.Elem(), s)
	case reflect.Slice:
		if s.Items != nil {
			return without(path+"[]", t.Elem(), *s.Items)
		}
		return nil
	case reflect.Struct:
	default:
		return nil
	}
	if len(s.Properties) == 0 {
		return nil // it is written as a text or a number
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if t.Field(i).Anonymous || name == "-" || name == "metadata" {
			continue
		}
		if p, there := s.Properties[name]; there {
			out = append(out, without(path+"."+name, t.Field(i).Type, p)...)
		} else {
			out = append(out, path+"."+name)
		}
	}
	return out
}
