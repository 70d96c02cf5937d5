package speaker

import (
	"errors"
	"fmt"
	"os"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// raiseNetRaw makes CAP_NET_RAW effective in all threads of the process, which it needs for packet sockets. The
// image's binary has it as a file capability, permitted and not effective, so that it starts also where the
// runtime gives it none, and can say what is wrong.
func raiseNetRaw() error {
	c := cap.GetProc()
	if effective, err := c.GetFlag(cap.Effective, cap.NET_RAW); err == nil && effective {
		return nil
	}
	permitted, err := c.GetFlag(cap.Permitted, cap.NET_RAW)
	if err != nil {
		return fmt.Errorf("reading the process's capabilities: %w", err)
	}
	if !permitted {
		return errNoNetRaw(os.Getuid())
	}
	if err := c.SetFlag(cap.Effective, true, cap.NET_RAW); err != nil {
		return fmt.Errorf("raising CAP_NET_RAW: %w", err)
	}
	if err := c.SetProc(); err != nil {
		return fmt.Errorf("raising CAP_NET_RAW: %w", err)
	}
	return nil
}

func errNoNetRaw(uid int) error {
	if uid == 0 {
		return errors.New("the speaker may not use packet sockets, though it runs as uid 0: " +
			"allow NET_RAW in the container's securityContext.capabilities.add")
	}
	return errors.New("the speaker may not use packet sockets: " +
		"allow NET_RAW in the container's securityContext.capabilities.add, and see that the node's container runtime " +
		"keeps file capabilities (cap_net_raw+p on the binary), or run the speaker as uid 0 with NET_RAW alone (config/root-speaker)")
}
