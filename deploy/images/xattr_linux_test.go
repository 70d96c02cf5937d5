package images

import "golang.org/x/sys/unix"

// readFileCapability reads what the kernel stored for the file.
func readFileCapability(file string) (string, error) {
	b := make([]byte, 64)
	n, err := unix.Lgetxattr(file, "security.capability", b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}
