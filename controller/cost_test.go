package controller

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost is what something took: the time, and the processors' time of the API server, its store, the controller and this
// program together, which says more where others use the machine too.
type cost struct{ wall, cpu time.Duration }

func (c cost) String() string {
	return fmt.Sprintf("%v (%v of processors)", c.wall.Round(time.Millisecond), c.cpu.Round(time.Millisecond))
}

func (r *rig) cost(do func() time.Duration) cost {
	before := r.processors()
	wall := do()
	return cost{wall, r.processors() - before}
}

// processors is the processors' time that this process and its children have used, so far as they live.
func (r *rig) processors() (sum time.Duration) {
	self := os.Getpid()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	r.must(err)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // gone
		}
		var pid int
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			continue
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on, see proc(5)
		parent, err := strconv.Atoi(fields[1])
		if err != nil || pid != self && parent != self {
			continue
		}
		for _, ticks := range fields[11:13] {
			n, err := strconv.Atoi(ticks)
			r.must(err)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
