package sim

import (
	"math"
	"testing"
)

// blisTrial is a case of blis-2025-07 with blocks of 4 tokens. Steps have whole milliseconds, and
// between them nothing.
func blisTrial(w *Workload) trial {
	c := Config{
		Semantics: BLIS202507, MaxNumSeqs: 8, MaxNumBatchedTokens: 64, BlockSize: 4,
		EnablePrefixCaching: true, HorizonS: math.Inf(1),
	}
	return trial{w, c, &Params{Coeffs: [NumTerms]float64{intercept: 1e-3}}}
}

// blisBites tells whether the reference engine comes to another end than one of the given kind.
func blisBites(seen func(r *Result) bool) func(t *testing.T, c trial) bool {
	return func(t *testing.T, c trial) bool { return seen(runV1(t, c.w, c.c, c.p)) }
}

// together is a workload of n equal requests that are admitted by one step: another one keeps the server
// busy when they arrive.
func together(n int, input, output int64) *Workload {
	w := same(n+1, input, output)
	w.InputTokens[0], w.OutputTokens[0] = 1, 1
	for i := range n {
		w.ArrivalS[i+1] = 1e-6 * float64(i+1)
	}
	return w
}

// TestEdgesOfBLIS: what the leap engine of blis-2025-07 needs to know beforehand.
func TestEdgesOfBLIS(t *testing.T) {
	dropped := blisBites(func(r *Result) bool { return r.Outcome != OK })
	late := blisBites(func(r *Result) bool { return r.Outcome == Horizon })
	for _, e := range []edge{
		{"one block", func(by int64) trial {
			c := blisTrial(together(2, 8, 8)) // a slot for the last token too: 4 blocks each
			c.c.NumGPUBlocks, c.c.MaxNumSeqs = 8+by, 2
			c.p.Coeffs[0] = 1e-3 // whoever finds no slot is not counted
			return c
		}, [3]string{reference, plain, plain}, changes(unlimited), [3]bool{true, false, false}},
		{"one token", func(by int64) trial {
			c := blisTrial(together(2, 8, 8+by))
			c.c.NumGPUBlocks, c.c.MaxNumSeqs = 8, 2
			c.p.Coeffs[0] = 1e-3 // whoever finds no slot is not counted
			return c
		}, [3]string{plain, plain, reference}, changes(unlimited), [3]bool{false, false, true}},
		{"one seat", func(by int64) trial {
			c := blisTrial(together(4, 8, 8))
			c.c.NumGPUBlocks, c.c.MaxNumSeqs = 12, 3+by
			return c
		}, [3]string{plain, plain, reference}, dropped, [3]bool{false, false, true}},
		{"budget of the seats", func(by int64) trial {
			c := blisTrial(same(4, 1, 8))
			c.w.ArrivalS = []float64{0, 1e-6, 2e-6, 3e-6}
			c.c.MaxNumBatchedTokens, c.c.MaxNumSeqs = 4+by, 4
			return c
		}, [3]string{reference, plain, plain}, nil, [3]bool{}},
		{"arrivals in order", func(by int64) trial {
			c := blisTrial(same(2, 3, 8))
			c.w.ArrivalS = []float64{1e-3, 1e-3 + 1e-6*float64(by)}
			return c
		}, [3]string{reference, reference, plain}, nil, [3]bool{}},
		{"an empty prompt", func(by int64) trial {
			c := blisTrial(lengths([]float64{0, 1e-6}, []int64{3, 1 + max(by, -1)}, []int64{8, 3}))
			return c
		}, [3]string{reference, plain, plain}, dropped, [3]bool{true, false, false}},
		{"a shared block", func(by int64) trial {
			c := blisTrial(withPrompts(3, tokens(0, 9), append(tokens(0, 4+by), tokens(100, 8)...)))
			c.w.ArrivalS[1] = 1e-6
			return c
		}, [3]string{plain, reference, reference}, nil, [3]bool{}},
		{"block size", func(by int64) trial {
			c := blisTrial(same(1, 3, 8))
			c.c.BlockSize = maxLeapBlock + by
			return c
		}, [3]string{plain, plain, reference}, nil, [3]bool{}},
		{"the horizon on the last step", func(by int64) trial {
			c := blisTrial(same(1, 3, 8)) // begins after 7 ms
			c.c.HorizonS = 7e-3 + 1e-6*float64(by)
			return c
		}, [3]string{reference, plain, plain}, nil, [3]bool{}},
		{"the horizon on an arrival", func(by int64) trial {
			c := blisTrial(same(2, 3, 1))
			c.w.ArrivalS[1] = 5e-3
			c.c.HorizonS = 5e-3 + 1e-6*float64(by)
			return c
		}, [3]string{reference, plain, plain}, late, [3]bool{true, false, false}},
	} {
		e.checkBLIS(t)
	}
}

// TestEdgesOfBLISRuns: what it has to see in a run.
func TestEdgesOfBLISRuns(t *testing.T) {
	for _, e := range []edge{
		{"an arrival at a step", func(by int64) trial {
			c := blisTrial(same(3, 3, 8))
			c.w.ArrivalS = []float64{0, 3e-3 + 1e-6*float64(by), 5e-3}
			return c
		}, [3]string{plain, plain, plain}, nil, [3]bool{}},
		{"a seat for an arrival", func(by int64) trial {
			c := blisTrial(same(3, 3, 8))
			c.w.ArrivalS = []float64{0, 1e-6, 3.5e-3}
			c.c.MaxNumSeqs = 2 + by
			return c
		}, [3]string{plain, plain, plain}, nil, [3]bool{}},
		{"budget for an arrival", func(by int64) trial {
			c := blisTrial(same(4, 3, 8))
			c.w.ArrivalS = []float64{0, 1e-6, 1.5e-3, 3.5e-3}
			c.c.MaxNumSeqs, c.c.MaxNumBatchedTokens = 2, 6+by // may be overdrawn by the last prompt
			return c
		}, [3]string{plain, plain, plain}, nil, [3]bool{}},
		{"steps of no time", func(by int64) trial {
			c := blisTrial(same(2, 3, 8))
			c.w.ArrivalS[1] = 2e-6
			c.p.Coeffs[intercept] = 1e-6 * float64(by)
			return c
		}, [3]string{plain, plain, plain}, nil, [3]bool{}},
		{"a step that is counted", func(by int64) trial {
			c := blisTrial(same(1, 3, 8))
			c.p.Coeffs[intercept] = 1e-6 * (float64(maxLeapPeriod) + 16*float64(by))
			return c
		}, [3]string{plain, plain, reference}, nil, [3]bool{}},
		{"a coefficient of contexts", func(by int64) trial {
			c := blisTrial(same(1, 3, 8))
			c.p.Coeffs[termContext] = 1e-6 * float64(by)
			return c
		}, [3]string{reference, plain, reference}, nil, [3]bool{}},
	} {
		e.checkBLIS(t)
	}
}

func (e edge) checkBLIS(t *testing.T) {
	for side, by := range []int64{-1, 0, 1} {
		c := e.at(by)
		t.Run(e.name+[]string{", below", ", on", ", above"}[side], func(t *testing.T) { e.checkSide(t, side, c) })
	}
}
