package controller

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cost is what something took: the time, and the processors' time of the API server, its store, the controller and this
// program, which says more where others use the machine too.
type cost struct {
	wall, cpu time.Duration
	of        map[string]time.Duration // of cpu, by program
}

func (c cost) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.of)) {
		if part := c.of[name]; part > 0 {
			parts = append(parts, fmt.Sprintf("%s %v", name, part.Round(time.Millisecond)))
		}
	}
	return fmt.Sprintf("%v (%v of processors: %s)", c.wall.Round(time.Millisecond), c.cpu.Round(time.Millisecond), strings.Join(parts, ", "))
}

func (r *rig) cost(do func() time.Duration) cost {
	before := r.processors()
	c := cost{wall: do(), of: r.processors()}
	for name := range c.of {
		c.of[name] -= before[name]
		c.cpu += c.of[name]
	}
	return c
}

// processors is the processors' time that this process and its children have used, so far as they live, by program.
func (r *rig) processors() map[string]time.Duration {
	self := os.Getpid()
	sums := map[string]time.Duration{}
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
		opens, closes := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[closes+1:])) // from the third on, see proc(5)
		parent, err := strconv.Atoi(fields[1])
		if err != nil || pid != self && parent != self {
			continue
		}
		for _, ticks := range fields[11:13] {
			n, err := strconv.Atoi(ticks)
			r.must(err)
			sums[string(text[opens+1:closes])] += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sums
}
