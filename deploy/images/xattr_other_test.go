//go:build !linux

package images

import "errors"

func readFileCapability(string) (string, error) {
	return "", errors.New("not implemented on this system")
}
