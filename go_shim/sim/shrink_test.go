package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// shrinkRuns bounds how often a case is tried while it is made smaller.
const shrinkRuns = 3000

// shrink makes a case that fails smaller for as long as it still fails: it halves the list of
// requests, drops single ones, takes tokens away, and turns settings and terms off.
func shrink(c trial, fails func(trial) bool) trial {
	runs := 0
	for smaller := true; smaller; {
		smaller = false
		for _, next := range c.smaller() {
			if runs++; runs > shrinkRuns {
				return c
			}
			if fails(next) {
				c, smaller = next, true
				break
			}
		}
	}
	return c
}

// smaller lists the cases that are one move smaller, the boldest moves first.
func (c trial) smaller() []trial {
	n := len(c.w.ArrivalS)
	var all []trial
	keep := func(from, to int, inside bool) {
		if inside && from < to && to-from < n || !inside && to-from < n {
			all = append(all, trial{c.w.keep(func(i int) bool { return (i >= from && i < to) == inside }), c.c, c.p})
		}
	}
	keep(0, n/2, true)
	keep(n/2, n, true)
	for i := range n {
		keep(i, i+1, false)
	}
	all = append(all, c.simpler()...)
	for i := range n {
		for _, tokens := range [][2]int64{
			{c.w.InputTokens[i] / 2, c.w.OutputTokens[i]}, {c.w.InputTokens[i], c.w.OutputTokens[i] / 2},
			{c.w.InputTokens[i] - 1, c.w.OutputTokens[i]}, {c.w.InputTokens[i], c.w.OutputTokens[i] - 1},
		} {
			if tokens[0] >= 0 && tokens[1] >= 0 && tokens != [2]int64{c.w.InputTokens[i], c.w.OutputTokens[i]} {
				all = append(all, trial{c.w.cutTo(i, tokens[0], tokens[1]), c.c, c.p})
			}
		}
	}
	return all
}

// simpler lists the cases that lack one setting, list of token ids or coefficient.
func (c trial) simpler() []trial {
	var all []trial
	for _, change := range []func(w *Workload, c *Config){
		func(w *Workload, _ *Config) { w.MaxConcurrency = 0 },
		func(w *Workload, _ *Config) { w.PromptIDs, w.OutputIDs = nil, nil },
		func(w *Workload, _ *Config) { w.OutputIDs = nil },
		func(_ *Workload, c *Config) { c.MaxModelLen = 0 },
		func(_ *Workload, c *Config) { c.LongPrefillTokenThreshold = 0 },
		func(_ *Workload, c *Config) { c.ReserveFullISL = false },
		func(_ *Workload, c *Config) { c.Watermark = 0 },
		func(_ *Workload, c *Config) { c.AsyncScheduling = false },
		func(_ *Workload, c *Config) { c.HorizonS = math.Inf(1) },
		func(_ *Workload, c *Config) { c.NumGPUBlocks = 0 },
		func(_ *Workload, c *Config) { c.EnablePrefixCaching = false },
	} {
		w, config := *c.w, c.c
		if change(&w, &config); w.MaxConcurrency != c.w.MaxConcurrency || config != c.c ||
			w.PromptIDs != c.w.PromptIDs || w.OutputIDs != c.w.OutputIDs {
			all = append(all, trial{&w, config, c.p})
		}
	}
	for i, value := range append(c.p.Coeffs[:], c.p.Overheads[:]...) {
		if value == 0 {
			continue
		}
		p := *c.p
		if i < NumTerms {
			p.Coeffs[i] = 0
		} else {
			p.Overheads[i-NumTerms] = 0
		}
		all = append(all, trial{c.w, c.c, &p})
	}
	return all
}

// keep is the workload of some of the requests.
func (w *Workload) keep(wanted func(i int) bool) *Workload {
	kept := &Workload{MaxConcurrency: w.MaxConcurrency}
	for i := range w.ArrivalS {
		if wanted(i) {
			kept.ArrivalS = append(kept.ArrivalS, w.ArrivalS[i])
			kept.InputTokens = append(kept.InputTokens, w.InputTokens[i])
			kept.OutputTokens = append(kept.OutputTokens, w.OutputTokens[i])
		}
	}
	rows := func(r *Ragged) *Ragged {
		if r == nil {
			return nil
		}
		some := &Ragged{Offsets: []int64{0}}
		for i := range w.ArrivalS {
			if wanted(i) {
				some.push(r.Row(i))
			}
		}
		return some
	}
	kept.PromptIDs, kept.OutputIDs = rows(w.PromptIDs), rows(w.OutputIDs)
	return kept
}

// cutTo is the workload in which request i has no more than so many tokens.
func (w *Workload) cutTo(i int, input, output int64) *Workload {
	cut := *w
	cut.InputTokens, cut.OutputTokens = slices.Clone(w.InputTokens), slices.Clone(w.OutputTokens)
	cut.InputTokens[i], cut.OutputTokens[i] = input, output
	rows := func(r *Ragged, counts []int64) *Ragged {
		if r == nil {
			return nil
		}
		some := &Ragged{Offsets: []int64{0}}
		for j, n := range counts {
			some.push(r.Row(j)[:n])
		}
		return some
	}
	cut.PromptIDs, cut.OutputIDs = rows(w.PromptIDs, cut.InputTokens), rows(w.OutputIDs, cut.OutputTokens)
	return &cut
}

// String writes a case as Go source.
func (c trial) String() string {
	rows := func(r *Ragged) string {
		if r == nil {
			return "nil"
		}
		return fmt.Sprintf("&%#v", *r)
	}
	text := fmt.Sprintf("w := &Workload{ArrivalS: %#v, InputTokens: %#v, OutputTokens: %#v, MaxConcurrency: %d, PromptIDs: %s, OutputIDs: %s}\nc := %#v\np := &%#v",
		c.w.ArrivalS, c.w.InputTokens, c.w.OutputTokens, c.w.MaxConcurrency, rows(c.w.PromptIDs), rows(c.w.OutputIDs), c.c, *c.p)
	return strings.NewReplacer("sim.", "", "+Inf", "math.Inf(1)").Replace(text)
}

// TestShrink: a planted fault, of requests of 7 prompt tokens or more that follow one with an output
// of 3 or more under a watermark, leaves just that of large random cases.
func TestShrink(t *testing.T) {
	fails := func(c trial) bool {
		for i := range c.w.ArrivalS[1:] {
			if c.w.OutputTokens[i] >= 3 && c.w.InputTokens[i+1] >= 7 && c.c.Watermark > 0 {
				return true
			}
		}
		return false
	}
	failed := 0
	for seed := range uint64(200) {
		w, c, p := randomV1(rand.New(rand.NewPCG(seed, 9)))
		if !fails(trial{w, c, p}) {
			continue
		}
		failed++
		small := shrink(trial{w, c, p}, fails)
		checkEqual(t, "prompts", []int64{0, 7}, small.w.InputTokens)
		checkEqual(t, "outputs", []int64{3, 0}, small.w.OutputTokens)
		checkEqual(t, "coefficients", [NumTerms]float64{}, small.p.Coeffs)
		if small.w.PromptIDs != nil || small.c.AsyncScheduling || small.c.Watermark == 0 {
			t.Errorf("not the smallest: %s", small)
		}
	}
	if failed < 20 {
		t.Errorf("%d cases with the fault: too few", failed)
	}
}

// TestShrinkKeepsTokens: what is left of a case are the ids that its requests had.
func TestShrinkKeepsTokens(t *testing.T) {
	w := lengths([]float64{0, 1, 2}, []int64{2, 3, 4}, []int64{1, 1, 1})
	w.PromptIDs = &Ragged{Offsets: []int64{0}}
	for i, n := range w.InputTokens {
		ids := []int32{10 * int32(i), 10*int32(i) + 1, 10*int32(i) + 2, 10*int32(i) + 3}
		w.PromptIDs.push(ids[:n])
	}
	c := trial{w, v1TestConfig(), secondSteps()}
	small := shrink(c, func(c trial) bool { return c.w.PromptIDs != nil && slices.Contains(c.w.PromptIDs.IDs, 22) })
	checkEqual(t, "ids", &Ragged{Offsets: []int64{0, 3}, IDs: []int32{20, 21, 22}}, small.w.PromptIDs)
	want := `w := &Workload{ArrivalS: []float64{2}, InputTokens: []int64{3}, OutputTokens: []int64{0}, MaxConcurrency: 0, ` +
		`PromptIDs: &Ragged{Offsets:[]int64{0, 3}, IDs:[]int32{20, 21, 22}}, OutputIDs: nil}`
	if text := small.String(); !strings.HasPrefix(text, want) || !strings.Contains(text, "HorizonS:math.Inf(1)") {
		t.Errorf("written as %s", text)
	}
}

// TestDifference: the first request that differs is named, whatever field comes first.
func TestDifference(t *testing.T) {
	got, want := newResult(3), newResult(3)
	if err := difference(got, want); err != nil {
		t.Error(err)
	}
	got.Engine, got.TTFT[0], want.TTFT[0] = Leap, math.NaN(), math.NaN()
	if err := difference(got, want); err != nil {
		t.Error(err)
	}
	got.Steps = 4
	checkEqual(t, "of a run", "Steps is 4, want 0", fmt.Sprint(difference(got, want)))
	got.TTFT[2] = 1
	checkEqual(t, "of a request", "request 2: TTFT is 1, want 0", fmt.Sprint(difference(got, want)))
	got.JacE2E[NumParams+3] = 2
	checkEqual(t, "of an earlier request", "request 1: JacE2E[3] is 2, want 0", fmt.Sprint(difference(got, want)))
	got.Cached[0] = 8
	checkEqual(t, "of the first request", "request 0: Cached is 8, want 0", fmt.Sprint(difference(got, want)))
	got.E2E[0] = math.Copysign(0, -1)
	checkEqual(t, "of a sign", "request 0: E2E is -0, want 0", fmt.Sprint(difference(got, want)))
}
