package supply

import (
	"fmt"
	"time"
)

// Progress takes one line about something that takes a while. A nil Progress
// is nobody watching.
type Progress func(line string)

func (p Progress) printf(format string, args ...any) {
	if p != nil {
		p(fmt.Sprintf(format, args...))
	}
}

// stillPause is how long somebody who watches is left without news.
const stillPause = 20 * time.Second

// meanwhile repeats a line, with the time passed, until done is called.
func (p Progress) meanwhile(line string) (done func()) {
	begin := time.Now()
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(stillPause)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				p.printf("%s (%.0fs)", line, time.Since(begin).Seconds())
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}
