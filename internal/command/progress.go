// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress says what a command is doing when it takes longer than a tick of its
// ticker, a second. A quick command stays silent.
type progress struct {
	mu    sync.Mutex
	what  string
	done  chan struct{}
	ended chan struct{}
}

// startProgress begins to watch. The caller must stop it.
func startProgress(w io.Writer, ticker func() (<-chan time.Time, func())) *progress {
	p := &progress{done: make(chan struct{}), ended: make(chan struct{})}
	ticks, stop := ticker()
	go func() {
		defer close(p.ended)
		defer stop()
		last := ""
		for {
			select {
			case <-p.done:
				return
			case <-ticks:
				p.mu.Lock()
				what := p.what
				p.mu.Unlock()
				if what != "" && what != last {
					printLine(w, what)
					last = what
				}
			}
		}
	}()
	return p
}

// now says what is being done at present.
func (p *progress) now(format string, args ...any) {
	p.mu.Lock()
	p.what = fmt.Sprintf(format, args...)
	p.mu.Unlock()
}

// stop ends the display and waits until nothing more can be written.
func (p *progress) stop() {
	close(p.done)
	<-p.ended
}
