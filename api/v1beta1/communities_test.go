package v1beta1_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/clarion-lb/clarion/api/v1beta1"
)

func TestParseCommunity(t *testing.T) {
	aliases := map[string]v1beta1.CommunityValue{
		"to-transit": {Parts: [3]uint32{64512, 100}},
		"no-export":  {Parts: [3]uint32{1, 2}},
	}
	for _, row := range []struct{ name, text, want, err string }{
		{name: "standard", text: "64512:100", want: "64512:100"},
		{name: "the largest standard", text: "65535:65535", want: "65535:65535"},
		{name: "large", text: "large:4294967295:0:7", want: "large:4294967295:0:7"},
		{name: "well known", text: "no-advertise", want: "65535:65282"},
		{name: "RFC 8326", text: "graceful-shutdown", want: "65535:0"},
		{name: "RFC 7999", text: "blackhole", want: "65535:666"},
		{name: "a name that a Community gives", text: "to-transit", want: "64512:100"},
		{name: "a well-known name keeps its meaning", text: "no-export", want: "65535:65281"},
		{name: "a name that none gives", text: "to-peer", err: `"to-peer": no Community gives this name: write one that does`},
		{name: "nothing", text: "", err: "no Community gives this name"},
		{name: "one number too big", text: "65536:1", err: "write two numbers from 0 to 65535"},
		{name: "three numbers", text: "1:2:3", err: "large:64512:1:2"},
		{name: "leading zeros", text: "01:2", err: "write two numbers"},
		{name: "signs", text: "+1:2", err: "write two numbers"},
		{name: "a large one too short", text: "large:1:2", err: "or three from 0 to 4294967295"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := v1beta1.ParseCommunity(row.text, aliases)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("got %v, want an error that says %q", err, row.err)
				}
				if errors.Is(err, v1beta1.ErrUnknownCommunity) == strings.Contains(row.text, ":") {
					t.Errorf("%v: is it a name that is unknown?", err)
				}
			case err != nil:
				t.Error(err)
			case got.String() != row.want:
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func FuzzParseCommunity(f *testing.F) {
	for _, seed := range []string{"64512:100", "large:1:2:3", "no-export", "::", "large:", "-1:0", "99999999999999999999:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		value, err := v1beta1.ParseCommunity(text, nil)
		if err != nil {
			return
		}
		if _, named := v1beta1.WellKnownCommunities[text]; !named && value.String() != text {
			t.Errorf("%q became %v", text, value)
		}
		if !value.Large && (value.Parts[0] > 65535 || value.Parts[1] > 65535 || value.Parts[2] != 0) {
			t.Errorf("%q became %v", text, value)
		}
	})
}
