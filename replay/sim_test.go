// SPDX-FileCopyrightText: The caddy-dpop authors
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"time"
)

// The simulation runs several nodes on one storage in a single goroutine. Each node is a coroutine that stops
// before and after every storage call; a seeded scheduler decides who goes on. It also moves and steps the
// clocks, fails calls before or after they take effect, lets writes land late, loses seals, crashes nodes and
// starts new ones. All of it follows from the seed. What it looks for is one proof accepted twice.

// simWorld is one schedule.
type simWorld struct {
	random  *rand.Rand
	hooks   mutation
	flat    bool // listings show objects, but no directories
	objects map[string][]byte
	late    []lateWrite
	seconds int64 // true time
	nodes   []*simNode
	proofs  []Claim

	accepted map[Claim]string
	double   error
	trace    []string
	tracing  bool
	stats    simStats
}

// simStats counts what a schedule has come by, so that a test can tell that it tests something.
type simStats struct{ accepts, replays, old, failures, crashes, late, sweeps, seals, closings int }

type lateWrite struct {
	key   string
	value []byte
}

// simNode is a process: a node with its table and clock, the coroutine of its commit and that of its chores.
type simNode struct {
	world  *simWorld
	label  string
	offset int64 // of its clock
	node   *node
	queue  []simClaim
	commit *coroutine
	chores *coroutine
}

type simClaim struct {
	claim Claim
	announced
}

var (
	errSim   = errors.New("simulated failure")
	errCrash = errors.New("simulated crash")
)

// coroutine runs f until it pauses.
type coroutine struct {
	resume func() (struct{}, bool)
	stop   func()
}

// goSim prepares f, which gets a function that pauses it. When the coroutine is stopped, that panics with errCrash.
func goSim(f func(pause func())) *coroutine {
	resume, stop := iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != any(errCrash) {
				panic(r)
			}
		}()
		f(func() {
			if !yield(struct{}{}) {
				panic(errCrash)
			}
		})
	})
	return &coroutine{resume, stop}
}

// simStorage is the storage as one coroutine of one node sees it.
type simStorage struct {
	from  *simNode
	pause func()
}

func (s simStorage) Store(_ context.Context, key string, value []byte) error {
	w := s.from.world
	s.pause()
	switch fault := w.random.IntN(60); {
	case fault == 0: // nothing is written
		w.note(s.from, "store %s fails", key)
		return errSim
	case fault == 1: // written, but the answer is lost
		w.note(s.from, "store %s, answer lost", key)
		w.put(key, value)
		return errSim
	case fault <= 3: // it will be written some time
		w.note(s.from, "store %s times out", key)
		w.late = append(w.late, lateWrite{key, value})
		return errSim
	}
	w.note(s.from, "store %s", key)
	w.put(key, value)
	s.pause()
	return nil
}

func (s simStorage) Load(_ context.Context, key string) ([]byte, error) {
	w := s.from.world
	s.pause()
	value, ok := w.objects[key]
	w.note(s.from, "load %s: %t", key, ok)
	if !ok {
		return nil, fs.ErrNotExist
	}
	if w.random.IntN(200) == 0 {
		return nil, errSim
	}
	s.pause()
	return value, nil
}

// List shows some of the keys as of one moment and the others as of a later one: what comes and goes while a
// directory is read may show or not, whatever else does.
func (s simStorage) List(_ context.Context, path string, _ bool) ([]string, error) {
	w := s.from.world
	s.pause()
	keys := w.list(path)
	if w.random.IntN(3) == 0 {
		s.pause()
		later := w.list(path)
		all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(keys, later))))
		keys = slices.DeleteFunc(all, func(key string) bool {
			then, now := slices.Contains(keys, key), slices.Contains(later, key)
			return then != now && w.random.IntN(2) == 0
		})
	}
	w.note(s.from, "list %s: %d", path, len(keys))
	s.pause()
	return keys, nil
}

func (s simStorage) Delete(_ context.Context, key string) error {
	w := s.from.world
	s.pause()
	if w.random.IntN(60) == 0 {
		return errSim
	}
	w.note(s.from, "delete %s", key)
	switch {
	case strings.HasSuffix(key, passSuffix):
		w.stats.closings++
	case strings.HasSuffix(key, "/head"):
		w.stats.sweeps++
	}
	delete(w.objects, key)
	s.pause()
	return nil
}

func (w *simWorld) put(key string, value []byte) {
	if isHex(key[strings.LastIndexByte(key, '/')+1:], sealLength) {
		w.stats.seals++
	}
	w.objects[key] = value
}

func (w *simWorld) list(path string) []string {
	keys := make([]string, 0, len(w.objects))
	for key := range w.objects {
		if !strings.HasPrefix(key, path) || len(key) == len(path) || key[len(path)] != '/' {
			continue
		}
		if end := strings.IndexByte(key[len(path)+1:], '/'); end >= 0 && !w.flat {
			key = key[:len(path)+1+end]
		}
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return slices.Compact(keys)
}

func (w *simWorld) note(from *simNode, format string, args ...any) {
	if !w.tracing {
		return
	}
	label := ""
	if from != nil {
		label = fmt.Sprintf("%s@%d ", from.label, from.clock()-testEpoch)
	}
	w.trace = append(w.trace, label+fmt.Sprintf(format, args...))
}

func (n *simNode) clock() int64 { return n.world.seconds + n.offset }

const simWindow = 20

// addNode starts a process.
func (w *simWorld) addNode() {
	n := &simNode{world: w, label: fmt.Sprintf("n%d", len(w.nodes)), offset: w.random.Int64N(2*simWindow+1) - simWindow}
	if w.random.IntN(2) == 0 {
		n.offset = 0
	}
	table := NewTable(TableConfig{MaxEntries: 1000, Now: func() time.Time { return time.Unix(n.clock(), 0) }})
	table.key = seed{1, 2} // all follows from the seed
	table.SetWindow(Window{Proof: simWindow * time.Second})
	n.node = newNode("r", table, simRandom{w.random})
	n.node.hooks = w.hooks
	n.node.sealAfter = 1 + w.random.IntN(3)
	n.node.closeAfter = 1 + w.random.Int64N(2*simWindow)
	w.nodes = append(w.nodes, n)
	w.note(n, "starts")
}

type simRandom struct{ *rand.Rand }

func (r simRandom) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

// present hands a proof to a node: an old one in most cases.
func (w *simWorld) present(n *simNode) {
	var c Claim
	if len(w.proofs) == 0 || w.random.IntN(4) == 0 {
		c = Claim{ID: testID(uint64(len(w.proofs))), IssuedAt: w.seconds + w.random.Int64N(8) - 4}
		w.proofs = append(w.proofs, c)
	} else {
		// The newer ones are of more interest.
		back := min(w.random.IntN(len(w.proofs)), w.random.IntN(len(w.proofs)))
		c = w.proofs[len(w.proofs)-1-back]
	}
	expiry, check, err := n.node.table.admit(c, flagPending)
	w.note(n, "presented %x: %v", c.ID[:2], err)
	w.count(err)
	if err == nil {
		n.queue = append(n.queue, simClaim{c, announced{id: c.ID, issued: c.issued(), expiry: expiry, check: check}})
	}
}

func (w *simWorld) count(err error) {
	switch {
	case errors.Is(err, ErrReplayed):
		w.stats.replays++
	case errors.Is(err, ErrTooOld):
		w.stats.old++
	}
}

// startCommit lets the node carry what is queued.
func (n *simNode) startCommit() {
	w := n.world
	claims := n.queue
	n.queue = nil
	n.commit = goSim(func(pause func()) {
		n.node.storage = simStorage{n, pause}
		batch := make([]announced, len(claims))
		for i, c := range claims {
			batch[i] = c.announced
		}
		w.note(n, "commits %d", len(batch))
		if err := n.node.commit(context.Background(), batch); err != nil {
			w.note(n, "fails: %v", err)
			w.stats.failures++
			n.node.leave()
			return
		}
		for i := range batch {
			w.decide(n, claims[i].claim, batch[i].err)
		}
	})
}

func (w *simWorld) decide(n *simNode, c Claim, err error) {
	w.note(n, "decides %x: %v", c.ID[:2], err)
	w.count(err)
	if err != nil {
		return
	}
	w.stats.accepts++
	if first, ok := w.accepted[c]; ok {
		w.double = fmt.Errorf("proof %x accepted by %s and %s", c.ID[:2], first, n.label)
	}
	w.accepted[c] = n.label
}

// startChores lets the node sweep beside its commits.
func (n *simNode) startChores() {
	n.node.plan()
	todo := n.node.takeChores()
	n.chores = goSim(func(pause func()) {
		_ = todo.do(context.Background(), simStorage{n, pause}, n.node.layout)
	})
}

// step lets the scheduler do one thing.
func (w *simWorld) step() {
	n := w.nodes[w.random.IntN(len(w.nodes))]
	switch event := w.random.IntN(200); {
	case event < 6:
		w.seconds += w.random.Int64N(simWindow / 2)
	case event < 8:
		w.seconds += simWindow
	case event < 10: // the clock of one node steps
		n.offset += w.random.Int64N(4*simWindow+1) - 2*simWindow
		w.note(n, "clock steps")
	case event < 16 && len(w.late) > 0:
		i := w.random.IntN(len(w.late))
		w.note(nil, "late write of %s lands", w.late[i].key)
		w.put(w.late[i].key, w.late[i].value)
		w.late = slices.Delete(w.late, i, i+1)
		w.stats.late++
	case event == 16 && w.random.IntN(4) == 0:
		w.loseSeal()
	case event == 17 && len(w.nodes) < 6:
		w.addNode()
	case event == 18:
		w.crash(n)
	case event < 60:
		w.present(n)
	case event < 75 && n.chores == nil && n.commit == nil:
		n.startChores()
	case event < 110 && n.chores != nil:
		if _, ok := n.chores.resume(); !ok {
			n.chores = nil
		}
	case n.commit != nil:
		// A few calls at a time, so that some nodes get ahead of others.
		for range 1 + w.random.IntN(6) {
			if _, ok := n.commit.resume(); !ok {
				n.commit = nil
				break
			}
		}
	case len(n.queue) > 0 || w.random.IntN(8) == 0:
		n.startCommit()
	}
}

func (w *simWorld) crash(n *simNode) {
	w.stats.crashes++
	w.note(n, "crashes")
	n.end()
	w.nodes = slices.DeleteFunc(w.nodes, func(other *simNode) bool { return other == n })
	w.addNode()
}

func (n *simNode) end() {
	for _, c := range []*coroutine{n.commit, n.chores} {
		if c != nil {
			c.stop()
		}
	}
}

// loseSeal takes a seal away that no mark may cover.
func (w *simWorld) loseSeal() {
	var seals []string
	for key := range w.objects {
		if isHex(key[strings.LastIndexByte(key, '/')+1:], sealLength) {
			seals = append(seals, key)
		}
	}
	if len(seals) == 0 {
		return
	}
	sort.Strings(seals)
	key := seals[w.random.IntN(len(seals))]
	w.note(nil, "%s is lost", key)
	delete(w.objects, key)
}

// simulate runs the schedule of one seed.
func simulate(seed uint64, hooks mutation, steps int, tracing bool) *simWorld {
	w := &simWorld{
		random:   rand.New(rand.NewPCG(seed, uint64(hooks))),
		hooks:    hooks,
		flat:     seed%2 == 1,
		objects:  map[string][]byte{},
		seconds:  testEpoch,
		accepted: map[Claim]string{},
		tracing:  tracing,
	}
	for range 2 + w.random.IntN(2) {
		w.addNode()
	}
	for range steps {
		if w.double != nil {
			break
		}
		w.step()
	}
	for _, n := range w.nodes {
		n.end()
	}
	return w
}
