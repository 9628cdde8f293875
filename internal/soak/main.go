// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

// Command soak runs Caddy with dpop under a mixed load for as long as it is told, with
// a reload every minute, and says whether anything grew, failed or did not add up:
//
//	go run ./internal/soak -for 30m
//
// Clients send valid proofs, the same again, two copies at once, broken and expired
// ones, and come with new keys. Each answer is compared to what it must be, and at the
// end the server must have accepted exactly the number of different valid proofs sent.
// Memory and goroutines are sampled twelve times or more; growth between the second
// quarter of the run and the last is a failure.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/caddy-dpop/caddy-dpop/integration/process"
	"github.com/caddy-dpop/caddy-dpop/internal/testkit"
)

const origin = "https://api.example.test"

type options struct {
	duration, reload time.Duration
	rate, workers    int
	store            string
}

func main() {
	var o options
	flag.DurationVar(&o.duration, "for", 30*time.Minute, "how long the load lasts")
	flag.DurationVar(&o.reload, "reload", time.Minute, "time between reloads")
	flag.IntVar(&o.rate, "rate", 200, "requests per second")
	flag.IntVar(&o.workers, "workers", 16, "requests at a time")
	flag.StringVar(&o.store, "store", "storage", "what stands behind replay in the Caddyfile")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "FAIL:", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func run(o options) error {
	dir, err := os.MkdirTemp("", "caddy-dpop-soak-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, err := process.Build(dir)
	if err != nil {
		return err
	}
	issuer := testkit.NewIssuer("soak")
	defer issuer.Close()
	address := process.FreeAddress()
	caddy := &process.Caddy{Binary: binary, Dir: dir, Admin: process.FreeAddress()}
	caddy.Text = fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https off
	metrics
	dpop {
		token_cache 2000
	}
	storage file_system %s
}
http://%s {
	dpop {
		issuer %s
		audience %s
		public_url %s
		replay %s
	}
	handle_errors {
		header X-Reason {http.dpop.reason}
		respond "refused"
	}
	respond "generation 0"
}
`, caddy.Admin, filepath.Join(dir, "storage"), address, issuer.URL, origin, origin, o.store)
	if err := caddy.Start(); err != nil {
		return err
	}
	defer caddy.Stop()

	l := newLoad("http://"+address+"/items", issuer)
	if err := l.warm(); err != nil {
		return err
	}
	before, err := caddy.Metric(acceptedMetric, acceptedLabel)
	if err != nil {
		return err
	}
	l.forget()
	l.start(o)
	samples, err := watch(caddy, l, o)
	l.stop()
	if err != nil {
		return err
	}
	return judge(caddy, l, samples, before)
}

const (
	acceptedMetric = "caddy_dpop_requests_total"
	acceptedLabel  = `outcome="accepted"`
)

// sample is what the process looked like at one time.
type sample struct {
	at         time.Duration
	goroutines int
	heap, rss  int
	entries    int
}

// watch samples and reloads until the time is over.
func watch(caddy *process.Caddy, l *load, o options) ([]sample, error) {
	start := time.Now()
	end := time.After(o.duration)
	reload := time.NewTicker(o.reload)
	defer reload.Stop()
	probe := time.NewTicker(min(max(o.duration/60, time.Second), 30*time.Second))
	defer probe.Stop()
	var samples []sample
	fmt.Println("    time   sent  goroutines  heap MB  resident MB  entries")
	for generation := 1; ; {
		select {
		case <-end:
			return samples, nil
		case <-reload.C:
			text := fmt.Sprintf("%s\n# generation %d\n", caddy.Text, generation)
			if err := caddy.Reload(text); err != nil {
				return nil, err
			}
			generation++
			caddy.DropLog()
		case <-probe.C:
			s, err := look(caddy)
			if err != nil {
				return nil, err
			}
			s.at = time.Since(start)
			samples = append(samples, s)
			fmt.Printf("%8s %6d %11d %8.1f %12.1f %8d\n", s.at.Round(time.Second), l.sent.Load(), s.goroutines, mega(s.heap), mega(s.rss), s.entries)
		}
	}
}

func mega(bytes int) float64 { return float64(bytes) / (1 << 20) }

func look(caddy *process.Caddy) (s sample, err error) {
	// Asking for the heap with gc=1 collects first, so that what is live counts.
	if _, err := caddy.Ask("/debug/pprof/heap?gc=1"); err != nil {
		return s, err
	}
	heap, err := caddy.Metric("go_memstats_heap_alloc_bytes")
	if err != nil {
		return s, err
	}
	entries, err := caddy.Metric("caddy_dpop_replay_entries")
	if err != nil {
		return s, err
	}
	s.heap, s.rss, s.entries = int(heap), caddy.RSS(), int(entries)
	s.goroutines, _, err = caddy.Goroutines()
	return s, err
}

// judge says what is wrong with a run, if anything.
func judge(caddy *process.Caddy, l *load, samples []sample, before float64) error {
	after, err := caddy.Metric(acceptedMetric, acceptedLabel)
	if err != nil {
		return err
	}
	l.report()
	accepted := int64(after - before)
	fmt.Printf("different valid proofs sent %d, accepted by the server %d\n", l.unique.Load(), accepted)
	if wrong := l.wrong(); wrong != "" {
		return fmt.Errorf("answers that are wrong:\n%s", wrong)
	}
	if accepted != l.unique.Load() {
		return fmt.Errorf("%d proofs accepted, %d different valid ones sent", accepted, l.unique.Load())
	}
	if len(samples) < 12 {
		return fmt.Errorf("only %d samples", len(samples))
	}
	quarter := len(samples) / 4
	for _, value := range []struct {
		name  string
		of    func(sample) int
		slack int
	}{
		{"goroutines", func(s sample) int { return s.goroutines }, 20},
		{"heap", func(s sample) int { return s.heap }, 4 << 20},
		{"resident memory", func(s sample) int { return s.rss }, 16 << 20},
	} {
		early, late := median(samples[quarter:2*quarter], value.of), median(samples[3*quarter:], value.of)
		fmt.Printf("%s: median %d in the second quarter, %d in the last\n", value.name, early, late)
		if late > early+early/10+value.slack {
			return fmt.Errorf("%s grew from %d to %d", value.name, early, late)
		}
	}
	return nil
}

func median(samples []sample, of func(sample) int) int {
	values := make([]int, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
