package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomV1 makes a small workload, a configuration that often runs out of something, and a
// candidate with steps of positive length.
func randomV1(rng *rand.Rand) (*Workload, Config, *Params) {
	c := Config{
		Semantics:  VLLMV1 + Semantics(rng.IntN(2)),
		MaxNumSeqs: 1 + rng.Int64N(6), MaxNumBatchedTokens: 1 + rng.Int64N(40),
		BlockSize: 1 + rng.Int64N(5), NumGPUBlocks: rng.Int64N(2) * (1 + rng.Int64N(30)),
		EnablePrefixCaching: rng.IntN(3) > 0, EnableChunkedPrefill: rng.IntN(4) > 0,
		LongPrefillTokenThreshold: rng.Int64N(3) * rng.Int64N(8), ReserveFullISL: rng.IntN(3) > 0,
		Watermark: float64(rng.IntN(2)) * 0.3 * rng.Float64(), AsyncScheduling: rng.IntN(2) > 0,
		HorizonS: math.Inf(1),
	}
	if rng.IntN(3) == 0 {
		c.MaxModelLen = 12 + rng.Int64N(20)
	}
	if rng.IntN(5) == 0 {
		c.HorizonS = 0.02 * rng.Float64()
	}
	p := &Params{}
	for i := range p.Coeffs {
		p.Coeffs[i] = 1e-5 * rng.Float64()
	}
	p.Coeffs[intercept] = 1e-3 * rng.Float64()
	for i := range p.Overheads {
		p.Overheads[i] = 500 * rng.Float64() * float64(rng.IntN(2))
	}
	return randomV1Workload(rng), c, p
}

// randomV1Workload has few distinct tokens, so that prefixes repeat; some outputs are empty.
func randomV1Workload(rng *rand.Rand) *Workload {
	n := 1 + rng.IntN(20)
	w := &Workload{MaxConcurrency: rng.Int64N(2) * rng.Int64N(6)}
	prompts, outputs := &Ragged{Offsets: []int64{0}}, &Ragged{Offsets: []int64{0}}
	for range n {
		w.ArrivalS = append(w.ArrivalS, 0.03*float64(rng.IntN(10))/10)
		w.InputTokens = append(w.InputTokens, 1+rng.Int64N(12))
		w.OutputTokens = append(w.OutputTokens, rng.Int64N(15))
	}
	for i := range n {
		prompts.add(rng, w.InputTokens[i])
		outputs.add(rng, w.OutputTokens[i])
	}
	if rng.IntN(4) > 0 {
		w.PromptIDs = prompts
		if rng.IntN(4) > 0 {
			w.OutputIDs = outputs
		}
	}
	return w
}

func (r *Ragged) add(rng *rand.Rand, n int64) {
	distinct := 1 + rng.Int32N(2)
	for range n {
		r.IDs = append(r.IDs, rng.Int32N(distinct))
	}
	r.Offsets = append(r.Offsets, int64(len(r.IDs)))
}

// v1Checker watches one run from inside.
type v1Checker struct {
	run      *v1Reference
	end      float64 // µs, of the latest step
	admitted []int   // requests in the order of their first admission
	err      error
}

func (c *v1Checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// step checks what holds after the scheduling of every batch, before its output is processed.
func (c *v1Checker) step(s StepTrace) {
	const rounding = 1e-6 // µs: the clock multiplies where end adds
	if s.StartUS < c.end-rounding || s.StartUS < s.ComposedUS {
		c.fail("a step begins at %v µs, composed at %v, after one that ends at %v", s.StartUS, s.ComposedUS, c.end)
	}
	c.end = s.StartUS + s.DurationUS
	var tokens int64
	for _, q := range s.Requests {
		tokens += q.Tokens
		if c.run.sent[q.Request] > s.ComposedUS {
			c.fail("request %d is scheduled at %v µs, sent at %v", q.Request, s.ComposedUS, c.run.sent[q.Request])
		}
		if !slices.Contains(c.admitted, q.Request) {
			c.admitted = append(c.admitted, q.Request)
		}
	}
	if tokens > c.run.budget || tokens != s.Decodes+s.PrefillTokens {
		c.fail("%d tokens in a step of %d, D = %d, P = %d", tokens, c.run.budget, s.Decodes, s.PrefillTokens)
	}
	if int64(s.Running) > c.run.maxSeqs {
		c.fail("%d requests run", s.Running)
	}
	if err := c.run.scheduler.kv.check(); err != nil {
		c.fail("%v", err)
	}
}

// TestV1Invariants runs random cases and checks every step and every result.
func TestV1Invariants(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(4000) {
		w, c, p := randomV1(rand.New(rand.NewPCG(seed, 1)))
		if c.MaxModelLen > 0 && slices.Max(w.InputTokens) > c.MaxModelLen {
			c.MaxModelLen = slices.Max(w.InputTokens)
		}
		v, err := newV1(w, c)
		if err != nil {
			t.Fatal(err)
		}
		r := newResult(v.numRequests)
		r.clear()
		run := newV1Reference(v, p, r)
		checker := &v1Checker{run: run, end: math.Inf(-1)}
		r.OnStep = checker.step
		run.loop()
		run.finish()
		checker.checkResult(w, r)
		if checker.err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, c, checker.err)
		}
		seen[fmt.Sprint("outcome ", r.Outcome)]++
		if slices.Max(r.Preemptions) > 0 {
			seen["preempting"]++
		}
		if slices.Max(r.Cached) > 0 {
			seen["hitting"]++
		}
	}
	t.Log(seen)
	for _, what := range []string{
		"preempting", "hitting", fmt.Sprint("outcome ", OK), fmt.Sprint("outcome ", Unfinished),
		fmt.Sprint("outcome ", Horizon), fmt.Sprint("outcome ", Hang),
	} {
		if seen[what] == 0 {
			t.Errorf("no case of %q among the random ones", what)
		}
	}
}

func (c *v1Checker) checkResult(w *Workload, r *Result) {
	c.checkOrder(r)
	c.checkConcurrency(r)
	finished := 0
	for i := range r.TTFT {
		whole := min(c.run.output[i], max(c.run.maxLen-c.run.input[i], 1))
		switch done := Status(r.Status[i]) == Finished; {
		case done && (int64(r.Generated[i]) != whole || !(r.TTFT[i] > 0) || !(r.TTFT[i] <= r.E2E[i])):
			c.fail("request %d: %d tokens of %d, TTFT %v s, E2E %v s", i, r.Generated[i], whole, r.TTFT[i], r.E2E[i])
		case !done && (int64(r.Generated[i]) >= whole || !math.IsNaN(r.E2E[i])):
			c.fail("request %d, status %d: %d tokens of %d, E2E %v s", i, r.Status[i], r.Generated[i], whole, r.E2E[i])
		case math.IsNaN(r.TTFT[i]) != (r.Generated[i] == 0):
			c.fail("request %d: %d tokens, TTFT %v s", i, r.Generated[i], r.TTFT[i])
		case done:
			finished++
		}
		if r.SentS[i] < w.ArrivalS[i] || math.IsNaN(r.SentS[i]) != (Status(r.Status[i]) == NotArrived) {
			c.fail("request %d, status %d: sent at %v s, planned for %v", i, r.Status[i], r.SentS[i], w.ArrivalS[i])
		}
	}
	if (r.Outcome == Unfinished || r.Outcome == Hang) && !c.hopeless() {
		c.fail("outcome %d, though every request can be served", r.Outcome)
	}
	if (finished == len(r.TTFT)) != (r.Outcome == OK) {
		c.fail("%d of %d finished, outcome %d", finished, len(r.TTFT), r.Outcome)
	}
	if r.Outcome == OK && c.run.scheduler.kv.used() != 0 {
		c.fail("%d blocks are used at the end", c.run.scheduler.kv.used())
	}
	if err := c.run.scheduler.kv.check(); err != nil {
		c.fail("at the end: %v", err)
	}
}

// hopeless tells whether some request cannot be served even alone: its last token needs more blocks
// than there are; it may not be cut and, prompt or what a preemption repeats, is too long for one
// step; or max_model_len leaves no place for a token in a later step.
func (c *v1Checker) hopeless() bool {
	for i, input := range c.run.input {
		computed := max(min(input+c.run.output[i], c.run.maxLen)-1, input)
		if ceilDiv(computed, c.run.blockSize) > c.run.usable || input >= c.run.maxLen ||
			!c.run.rules.chunked && computed > c.run.budget {
			return true
		}
	}
	return false
}

// checkOrder: requests that are never preempted are admitted first come, first served.
func (c *v1Checker) checkOrder(r *Result) {
	rank := make([]int, len(r.TTFT))
	for at, i := range c.run.order {
		rank[i] = at
	}
	latest := -1
	for _, i := range c.admitted {
		if r.Preemptions[i] > 0 {
			continue
		}
		if rank[i] < latest {
			c.fail("request %d is admitted too late", i)
		}
		latest = rank[i]
	}
}

// checkConcurrency: whenever a request is sent, at most max_concurrency are in flight.
func (c *v1Checker) checkConcurrency(r *Result) {
	for i, at := range r.SentS {
		flying := int64(0)
		for j, sent := range r.SentS {
			// in microseconds, as the ends of two requests differ by rounding in seconds
			if sent <= at && (math.IsNaN(r.E2E[j]) || sent+r.E2E[j] > at+1e-9) {
				flying++
			}
		}
		if c.run.concurrency > 0 && flying > c.run.concurrency {
			c.fail("%d requests are in flight when request %d is sent", flying, i)
		}
	}
}

// TestV1Limits: a limit that is never reached changes nothing.
func TestV1Limits(t *testing.T) {
	for seed := range uint64(500) {
		w, c, p := randomV1(rand.New(rand.NewPCG(seed, 2)))
		c.MaxModelLen, c.NumGPUBlocks, c.Watermark, w.MaxConcurrency = 0, 0, 0, 0
		want := runV1(t, w, c, p)
		for name, loosen := range map[string]func(w *Workload, c *Config){
			"blocks":          func(_ *Workload, c *Config) { c.NumGPUBlocks = 1000 },
			"max_model_len":   func(_ *Workload, c *Config) { c.MaxModelLen = 1000 },
			"max_concurrency": func(w *Workload, _ *Config) { w.MaxConcurrency = 100 },
			"watermark":       func(_ *Workload, c *Config) { c.NumGPUBlocks, c.Watermark = 1000, 0.1 },
		} {
			loose, config := *w, c
			loosen(&loose, &config)
			got := runV1(t, &loose, config, p)
			if !sameBits(got.TTFT, want.TTFT) || !sameBits(got.E2E, want.E2E) || !slices.Equal(got.Cached, want.Cached) {
				t.Fatalf("seed %d: %s changes %v into %v", seed, name, want.E2E, got.E2E)
			}
		}
	}
}

func sameBits(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

// TestV1Intercept: a longer step never makes a lone request faster.
func TestV1Intercept(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w, c, p := randomV1(rng)
		w = lengths(w.ArrivalS[:1], w.InputTokens[:1], w.OutputTokens[:1])
		c.MaxModelLen, c.NumGPUBlocks, c.HorizonS, c.AsyncScheduling = 0, 0, math.Inf(1), false
		c.EnableChunkedPrefill = true
		before := runV1(t, w, c, p).E2E[0]
		p.Coeffs[intercept] += 1e-6 + 1e-3*rng.Float64()
		if after := runV1(t, w, c, p).E2E[0]; !(after > before) {
			t.Fatalf("seed %d: E2E goes from %v s to %v s", seed, before, after)
		}
	}
}
