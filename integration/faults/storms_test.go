// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load sends good proofs, and now and then bad ones, from several goroutines until
// stopped.
type load struct {
	stop atomic.Bool
	work sync.WaitGroup

	mu       sync.Mutex // guards what follows
	statuses map[string]int
	answered chan struct{} // closed with the next answer
}

func (s *stand) load(site, token string, workers int) *load {
	l := &load{statuses: make(map[string]int), answered: make(chan struct{})}
	for range workers {
		l.work.Go(func() {
			for i := 0; !l.stop.Load(); i++ {
				a := s.good(site, token)
				l.mu.Lock()
				l.statuses[fmt.Sprint(a.status, " ", a.reason)[:3]]++
				close(l.answered)
				l.answered = make(chan struct{})
				l.mu.Unlock()
				if a.status == 0 {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// await waits until there are n more answers of a status.
func (l *load) await(t *testing.T, status string, n int) {
	t.Helper()
	enough := -1
	for end := time.After(30 * time.Second); ; {
		l.mu.Lock()
		if enough < 0 {
			enough = l.statuses[status] + n
		}
		done, answered := l.statuses[status] >= enough, l.answered
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-answered:
		case <-end:
			t.Fatalf("no %d answers %s: %v", n, status, l.end())
		}
	}
}

func (l *load) end() map[string]int {
	l.stop.Store(true)
	l.work.Wait()
	return l.statuses
}

// TestReloadStorm reloads as fast as it can under load: no request is refused or fails,
// nothing passes twice, and the generations that are gone leave nothing behind.
func TestReloadStorm(t *testing.T) {
	s := newStand(t, newStorage(t), `respond "ok"`)
	for i := range 3 { // the first reloads start what stays
		s.check(s.caddy.Reload(fmt.Sprintf("%s# %d\n", s.caddy.Text, -i)))
	}
	base := s.base()
	token := s.token(s.jwt)
	l := s.load(s.jwt, token, 6)
	l.await(t, "200", 20)
	for i := range 40 {
		text := s.caddy.Text
		if i%2 == 1 { // windows, nonces and limits differ from one to the next
			text = strings.Replace(text, "public_url", "max_age 90s\n\t\tnonce optional\n\t\tpublic_url", 1)
		}
		s.check(s.caddy.Reload(fmt.Sprintf("%s# %d\n", text, i)))
	}
	l.await(t, "200", 20)
	for status, n := range l.end() {
		if status != "200" && status[0] != '0' { // 0: a connection to a listener that has just gone
			t.Errorf("%d requests were answered %s", n, status)
		}
	}
	s.bad(s.jwt, token)
	s.sound()
	s.settles(base)
}

// TestFailedReloads posts configurations that do not load, under load: nothing changes.
func TestFailedReloads(t *testing.T) {
	s := newStand(t, newStorage(t), `respond "ok"`)
	base := s.base()
	l := s.load(s.jwt, s.token(s.jwt), 4)
	for _, broken := range []string{
		strings.Replace(s.caddy.Text, "audience "+origin, "audience \"\"", 2),
		strings.Replace(s.caddy.Text, "public_url", "algorithms HS256\n\t\tpublic_url", 1),
		strings.Replace(s.caddy.Text, "client_secret secret", "client_secret {env.NOT_THERE_AT_ALL}", 1),
		// Nobody can write there; that is found out by trying, beside what runs.
		strings.ReplaceAll(s.caddy.Text, "storage file_system ", "storage file_system /sys/"),
		strings.ReplaceAll(s.caddy.Text, "storage file_system ", "storage file_system /proc/"),
	} {
		if err := s.caddy.Reload(broken); err == nil {
			t.Errorf("loaded:\n%s", broken)
		}
		l.await(t, "200", 10)
	}
	for status, n := range l.end() {
		if status != "200" {
			t.Errorf("%d requests were answered %s", n, status)
		}
	}
	s.sound()
	s.settles(base)
}

// TestTerminate sends SIGTERM while requests are with the upstream: they are finished,
// and after a start nothing that passed passes again.
func TestTerminate(t *testing.T) {
	arrived := make(chan struct{}, 100)
	release := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer upstream.Close()
	openGate := sync.OnceFunc(func() { close(release) })
	defer openGate()
	s := prepare(t, newStorage(t), "@fast not header X-Slow *\n\trespond @fast \"ok\"\n\treverse_proxy "+upstream.URL)
	s.start()
	s.warm()
	token := s.token(s.jwt)
	const waiting = 12
	statuses := make(chan int, waiting)
	for range waiting {
		m := prove(key, token)
		s.mu.Lock()
		s.accepted[s.jwt] = append(s.accepted[s.jwt], m)
		s.mu.Unlock()
		go func() {
			r, _ := http.NewRequest(http.MethodPost, "http://"+s.jwt+"/items", http.NoBody)
			r.Header = http.Header{"Authorization": {"DPoP " + m.token}, "Dpop": {m.proof}, "X-Slow": {"1"}}
			res, err := s.client.Do(r)
			if err != nil {
				statuses <- 0
				return
			}
			_ = res.Body.Close()
			statuses <- res.StatusCode
		}()
	}
	for range waiting {
		select {
		case <-arrived:
		case <-time.After(20 * time.Second):
			t.Fatal("a request does not arrive")
		}
	}
	l := s.load(s.jwt, token, 4)
	l.await(t, "200", 20)
	s.caddy.Signal(syscall.SIGTERM)
	if s.caddy.Wait(time.Second) {
		t.Error("the process ended with requests in flight")
	}
	l.end()
	openGate()
	for range waiting {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("a request in flight was answered %d", status)
		}
	}
	if !s.caddy.Wait(20 * time.Second) {
		t.Fatalf("the process does not end:\n%s", s.caddy.Tail())
	}
	s.start()
	s.sound()
	s.recovers(s.jwt, 20*time.Second)
	s.sound()
}
