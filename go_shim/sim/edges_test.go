package sim

import (
	"slices"
	"testing"
)

// An edge is an inequality by which a quick engine proves itself exact, or that it has to see in a
// run. A case of it lies one block, token, seat or moment within it, on it, or beyond it. The table of
// all edges is in docs/engines.md.
type edge struct {
	name string
	at   func(by int64) trial // by is -1, 0 or 1
	runs [3]string            // who runs the three: plain, skip or reference

	// What the edge is about happens on these sides, and on no other: by the reference engine.
	bites func(t *testing.T, c trial) bool
	on    [3]bool
}

// Who runs a case.
const (
	plain     = "plain"
	skip      = "skip"
	reference = "reference"
)

// v1Variants are the ways in which the schedulers of vLLM differ.
var v1Variants = []struct {
	name  string
	apply func(c *Config)
}{
	{"vllm-v1", func(*Config) {}},
	{"asynchronous", func(c *Config) { c.AsyncScheduling = true }},
	{"vllm-v1-0.9.1", func(c *Config) { c.Semantics = VLLMV1_0_9_1 }},
}

// check compares the engines on all sides of an edge, under the first so many variants.
func (e edge) check(t *testing.T, variants int) {
	for _, variant := range v1Variants[:variants] {
		for side, by := range []int64{-1, 0, 1} {
			c := e.at(by)
			if variant.apply(&c.c); c.c.Semantics == BLIS202507 {
				t.Fatal("not a case of vllm-v1")
			}
			name := e.name + ", " + variant.name + ", " + []string{"below", "on", "above"}[side]
			t.Run(name, func(t *testing.T) { e.checkSide(t, side, c) })
		}
	}
}

func (e edge) checkSide(t *testing.T, side int, c trial) {
	for kind := range uint64(6) { // all that may be asked for beside latencies
		checkEngines(t, kind, c.w, c.c, c.p)
	}
	checkEqual(t, "engine", e.runs[side], whoRuns(t, c))
	if e.bites != nil {
		checkEqual(t, "what the edge is about", e.on[side], e.bites(t, c))
	}
	checkSkip(t, c)
}

// whoRuns tells which engine is exact on a case, and that this one is chosen.
func whoRuns(t *testing.T, c trial) string {
	t.Helper()
	s, err := New(c.w, c.c)
	if err != nil {
		t.Fatal(err)
	}
	r, chosen := newResult(s.NumRequests()), newResult(s.NumRequests())
	if err := s.Run(c.p, Auto, chosen); err != nil {
		t.Fatal(err)
	}
	who := reference
	switch {
	case s.blis != nil && s.blis.leapable && s.blis.runLeap(c.p, newLeapScratch(s.blis), r):
		who = plain
	case s.v1 != nil && s.runPlain(c.p, r):
		who = plain
	case s.v1 != nil && s.v1.skippable():
		who = skip
	}
	checkEqual(t, "quick", who != reference, chosen.Engine == Leap)
	return who
}

// checkSkip compares the skip engine with the reference, where another one would be chosen too.
func checkSkip(t *testing.T, c trial) {
	t.Helper()
	s, err := New(c.w, c.c)
	if err != nil {
		t.Fatal(err)
	}
	if s.v1 == nil || !s.v1.skippable() {
		return
	}
	got, want := newResult(s.NumRequests()), newResult(s.NumRequests())
	s.v1.runSkip(c.p, newV1SkipScratch(s.v1), got)
	s.v1.runReference(c.p, want)
	if err := difference(got, want); err != nil {
		t.Errorf("skip engine: %v", err)
	}
}

// changes makes a bites of what the reference engine gives without something.
func changes(off func(c *trial)) func(t *testing.T, c trial) bool {
	return func(t *testing.T, c trial) bool {
		with := runV1(t, c.w, c.c, c.p)
		w := *c.w
		without := trial{&w, c.c, c.p}
		off(&without)
		return difference(with, runV1(t, without.w, without.c, without.p)) != nil
	}
}

func preempts(t *testing.T, c trial) bool { return slices.Max(runV1(t, c.w, c.c, c.p).Preemptions) > 0 }

func ends(with Outcome) func(t *testing.T, c trial) bool {
	return func(t *testing.T, c trial) bool { return runV1(t, c.w, c.c, c.p).Outcome == with }
}

func unlimited(c *trial)   { c.c.NumGPUBlocks, c.c.EnablePrefixCaching = 0, false }
func noWatermark(c *trial) { c.c.Watermark = 0 }
func noThreshold(c *trial) { c.c.LongPrefillTokenThreshold = 0 }

// edgeSteps is a candidate whose steps differ with all that a batch may be.
func edgeSteps() *Params {
	p := &Params{Overheads: [NumOverheads]float64{1, 2, 3, 4}}
	p.Coeffs[0], p.Coeffs[1], p.Coeffs[3], p.Coeffs[intercept] = 1e-4, 1e-5, 3e-4, 1e-3
	p.Coeffs[termContext], p.Coeffs[termAttention], p.Coeffs[termMixed] = 1e-7, 1e-8, 2e-5
	return p
}

// same is a workload of n equal requests, all sent at once.
func same(n int, input, output int64) *Workload {
	return lengths(make([]float64, n), slices.Repeat([]int64{input}, n), slices.Repeat([]int64{output}, n))
}

// withPrompts is a workload of prompts by their token ids, sent a second after one another.
func withPrompts(output int64, prompts ...[]int32) *Workload {
	w := &Workload{PromptIDs: &Ragged{Offsets: []int64{0}}}
	for i, ids := range prompts {
		w.ArrivalS = append(w.ArrivalS, float64(i))
		w.InputTokens = append(w.InputTokens, int64(len(ids)))
		w.OutputTokens = append(w.OutputTokens, output)
		w.PromptIDs.push(ids)
	}
	return w
}

// tokens are so many ids from one on.
func tokens(from int32, n int64) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = from + int32(i)
	}
	return ids
}
