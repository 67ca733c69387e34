package sim

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// What the quick engines have to see in a run.

// TestEdgesOfArrivals: a request is sent a microsecond before, at, or after the beginning of a step,
// while others decode; with room for it, with no seat, and as the only one.
func TestEdgesOfArrivals(t *testing.T) {
	waits := func(t *testing.T, c trial) bool { return runV1(t, c.w, c.c, c.p).TTFT[1] > 1.5 }
	for _, n := range []int64{1, 2, 7} {
		e := edge{fmt.Sprintf("sent at step %d", n), func(by int64) trial {
			w := lengths([]float64{0, float64(n) + 1e-6*float64(by)}, []int64{3, 3}, []int64{12, 3})
			return trial{w, v1TestConfig(), secondSteps()}
		}, [3]string{plain, plain, plain}, waits, [3]bool{false, false, true}}
		e.checkOnly(t, "vllm-v1")
		e.bites = nil // the batch after next is composed with asynchronous scheduling
		e.check(t, 3)
	}
	edge{"seats", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumSeqs = 3 + by
		w := lengths([]float64{0, 0, 3.5, 4}, []int64{3, 3, 3, 3}, []int64{12, 6, 3, 5})
		return trial{w, c, secondSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
	edge{"budget of an admission", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumBatchedTokens, c.MaxNumSeqs = 16+by, 4
		return trial{same(5, 8, 5), c, edgeSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
	edge{"budget of an admission, whole prompts", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumBatchedTokens, c.MaxNumSeqs, c.EnableChunkedPrefill = 16+by, 4, false
		return trial{same(5, 8, 5), c, edgeSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 2)
	edge{"budget of 1", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumBatchedTokens, c.MaxNumSeqs = 2+by, 1
		return trial{same(3, 5, 4), c, edgeSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
	edge{"a closed loop", func(by int64) trial {
		w := same(6, 5, 7)
		w.MaxConcurrency = 2 + by
		return trial{w, v1TestConfig(), edgeSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
}

// TestEdgesOfOutputs: outputs of the lengths at which the wheel of last tokens changes its slots, and
// blocks that begin or end with the last token.
func TestEdgesOfOutputs(t *testing.T) {
	for _, n := range []int64{2, wheelSlots - 2, wheelSlots - 1, 2*wheelSlots - 2} {
		edge{fmt.Sprintf("output of %d", n), func(by int64) trial {
			w := lengths([]float64{0, 0, 0.5}, []int64{3, 4, 5}, []int64{n + by, n, n + 1})
			return trial{w, v1TestConfig(), secondSteps()}
		}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
	}
	edge{"two steps in a slot", func(by int64) trial {
		// the first one and the second one end 2 · 4096 - 1 steps apart, the third one between them
		w := lengths([]float64{0, 0, 0}, []int64{3, 4, 5}, []int64{2, 2*wheelSlots + 1 + by, 101})
		return trial{w, v1TestConfig(), secondSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
	edge{"peak of blocks", func(by int64) trial {
		w := lengths([]float64{0, 0, 3}, []int64{7, 4, 5}, []int64{6 + by, 13, 1})
		return trial{w, v1TestConfig(), secondSteps()}
	}, [3]string{plain, plain, plain}, nil, [3]bool{}}.check(t, 3)
}

// TestEdgesOfTheHorizon: the last step, or the step of the last request, begins just by it.
func TestEdgesOfTheHorizon(t *testing.T) {
	for _, last := range []struct {
		name     string
		w        *Workload
		variants int
	}{
		{"decoding", same(2, 3, 8), 3},
		{"a prefill", lengths([]float64{0, 7}, []int64{3, 3}, []int64{2, 1}), 3},
		{"a chunk", lengths([]float64{0, 6}, []int64{3, 2100}, []int64{2, 1}), 3},
		// with asynchronous scheduling it would take part in the step after that
		{"a prefill beside a decode", lengths([]float64{0, 6.5}, []int64{3, 3}, []int64{8, 1}), 1},
	} {
		edge{last.name + " on the horizon", func(by int64) trial {
			c := v1TestConfig()
			c.HorizonS = 7 + 1e-6*float64(by)
			return trial{last.w, c, secondSteps()}
		}, [3]string{skip, plain, plain}, ends(Horizon), [3]bool{true, false, false}}.check(t, last.variants)
	}
}

// TestEdgesOfDurations: steps of no time, of a little less, and of nearly too long; prefills, decodes,
// and decodes that get shorter and shorter.
func TestEdgesOfDurations(t *testing.T) {
	step := func(seconds float64) *Params {
		p := &Params{}
		p.Coeffs[intercept] = seconds
		return p
	}
	for _, e := range []edge{
		{"no time", func(by int64) trial {
			return trial{same(2, 3, 5), v1TestConfig(), step(1e-9 * float64(by))}
		}, [3]string{skip, plain, plain}, ends(NegativeStep), [3]bool{true, false, false}},
		{"no time between steps", func(by int64) trial {
			p := step(1e-3 + 1e-9*float64(by))
			p.Overheads[queueOverhead] = -1000
			return trial{same(2, 3, 5), v1TestConfig(), p}
		}, [3]string{skip, plain, plain}, ends(NegativeStep), [3]bool{true, false, false}},
		{"decoding in no time", func(by int64) trial {
			p := step(1e-3)
			p.Coeffs[0] = -1e-3 + 1e-9*float64(by) // of a request; the prefill takes a millisecond
			return trial{same(1, 3, 5), v1TestConfig(), p}
		}, [3]string{skip, plain, plain}, ends(NegativeStep), [3]bool{true, false, false}},
		{"the last step in no time", func(by int64) trial {
			p := step(100e-6)
			p.Coeffs[termContext] = -1e-6 // the last token is computed after 3 + 97 others
			return trial{same(1, 3, 99+by), v1TestConfig(), p}
		}, [3]string{plain, plain, skip}, ends(NegativeStep), [3]bool{false, false, true}},
		{"a step too long", func(by int64) trial {
			return trial{same(2, 3, 5), v1TestConfig(), step(maxStepTicks/microsPerSecond + float64(by))}
		}, [3]string{plain, skip, skip}, ends(NonFinite), [3]bool{false, true, true}},
		{"a step and its gap too long", func(by int64) trial {
			p := step(maxStepTicks/microsPerSecond - 1)
			p.Overheads[queueOverhead] = microsPerSecond + float64(by)
			return trial{same(2, 3, 5), v1TestConfig(), p}
		}, [3]string{plain, skip, skip}, ends(NonFinite), [3]bool{false, true, true}},
		{"a delay too long", func(by int64) trial {
			p := step(1)
			p.Coeffs[termOut] = (maxStepTicks/microsPerSecond + float64(by)) / 5
			return trial{same(2, 3, 5), v1TestConfig(), p}
		}, [3]string{plain, skip, skip}, ends(NonFinite), [3]bool{false, true, true}},
	} {
		e.check(t, 3)
	}
}

// surviving has one request that leaves a prefix of m blocks, others that take so many between them,
// and one that asks for the prefix: the tight case of the bound in v1_leap_prefix.go, with one seat.
// H is what the last one holds: m + 1.
func surviving(m, pool, between int64) trial { return survivingMany(m, pool, between, m+1) }

// survivingMany is the same with others of so many blocks each at most.
func survivingMany(m, pool, between, each int64) trial {
	c := v1TestConfig()
	c.MaxNumSeqs, c.NumGPUBlocks = 1, pool+1
	prompts := [][]int32{tokens(0, m*c.BlockSize)}
	for next := int32(1000); between > 0; next += 1000 {
		n := min(between, each)
		prompts = append(prompts, tokens(next, n*c.BlockSize)) // full blocks, which go to the end of the free list
		between -= n
	}
	prompts = append(prompts, tokens(0, m*c.BlockSize+1))
	w := withPrompts(1, prompts...)
	clear(w.ArrivalS)
	return trial{w, c, secondSteps()}
}

// TestV1PrefixSurvives: the last block of a prefix is evicted by U - H + 2 blocks that others take,
// and not by one less.
func TestV1PrefixSurvives(t *testing.T) {
	for _, m := range []int64{1, 2, 5} {
		for _, pool := range []int64{m + 1, m + 3, 4*m + 7} {
			evicted := func(t *testing.T, c trial) bool {
				r := runV1(t, c.w, c.c, c.p)
				hit := int64(r.Cached[len(r.Cached)-1]) / c.c.BlockSize
				checkEqual(t, "blocks hit, or one less", true, hit == m || hit == m-1)
				return hit < m
			}
			edge{fmt.Sprintf("prefix of %d blocks, pool of %d", m, pool), func(by int64) trial {
				return surviving(m, pool, pool-(m+1)+1+by)
			}, [3]string{plain, plain, skip}, evicted, [3]bool{false, false, true}}.check(t, 3)
		}
	}
}

// TestV1PrefixSurvivesAmongOthers is the same with a second seat, whose request takes its blocks while
// the others come and go: it has 1 block when the prefix is freed, and all of its 6 when it is asked for.
func TestV1PrefixSurvivesAmongOthers(t *testing.T) {
	const m, long, pool = 3, 6, 30
	evicted := func(t *testing.T, c trial) bool {
		r := runV1(t, c.w, c.c, c.p)
		return r.Cached[len(r.Cached)-1] < m*4
	}
	edge{"two seats", func(by int64) trial {
		c := surviving(m, pool, pool-(long+m+1)+1+by)
		c.c.MaxNumSeqs = 2
		n := len(c.w.ArrivalS) - 1
		for i := range c.w.ArrivalS[1:n] {
			c.w.ArrivalS[i+1] = float64(i + 2)
		}
		c.w.ArrivalS[n] = long*4 - 2
		// the one that stays goes first, with a prompt of its own
		w := withPrompts(1, tokens(900, 3))
		for i := range c.w.ArrivalS {
			w.ArrivalS = append(w.ArrivalS, c.w.ArrivalS[i])
			w.InputTokens = append(w.InputTokens, c.w.InputTokens[i])
			w.OutputTokens = append(w.OutputTokens, 1)
			w.PromptIDs.push(c.w.PromptIDs.Row(i))
		}
		w.OutputTokens[0] = long*4 - 3
		return trial{w, c.c, c.p}
	}, [3]string{plain, plain, skip}, evicted, [3]bool{false, false, true}}.check(t, 3)
}

// TestV1UnlimitedPoolLosesNoPrefix: where nothing is evicted, no prefix is doubted, however many
// blocks are taken; with one block less it is.
func TestV1UnlimitedPoolLosesNoPrefix(t *testing.T) {
	const pool = 30
	evicted := func(t *testing.T, c trial) bool { return slices.Max(runV1(t, c.w, c.c, c.p).Cached) == 0 }
	edge{"a pool for all but two", func(by int64) trial {
		c := survivingMany(1, pool, pool-1+by, 1) // of one block each; the prefix is one, and Q takes two
		c.c.MaxNumSeqs = 16
		for i := range c.w.ArrivalS {
			c.w.ArrivalS[i] = 2 * float64(i)
		}
		return c
	}, [3]string{plain, plain, skip}, evicted, [3]bool{false, false, true}}.check(t, 3)
	c := surviving(2, pool, 4*pool)
	c.c.NumGPUBlocks, c.c.MaxNumSeqs = 0, math.MaxInt32
	checkEqual(t, "engine", plain, whoRuns(t, c))
}

// TestV1PrefixSurvivesAgain: the blocks are counted from the last request that found the prefix, not
// from the first.
func TestV1PrefixSurvivesAgain(t *testing.T) {
	const m, pool = 3, 20
	edge{"found again", func(by int64) trial {
		c := surviving(m, pool, pool-(m+1)+1+by)
		w := withPrompts(1, c.w.PromptIDs.Row(0), tokens(0, m*c.c.BlockSize+1)) // it finds all
		for i := 1; i < len(c.w.ArrivalS); i++ {
			w.InputTokens = append(w.InputTokens, c.w.InputTokens[i])
			w.OutputTokens = append(w.OutputTokens, 1)
			w.PromptIDs.push(c.w.PromptIDs.Row(i))
		}
		w.ArrivalS = make([]float64, len(w.InputTokens))
		return trial{w, c.c, c.p}
	}, [3]string{plain, plain, skip}, func(t *testing.T, c trial) bool {
		r := runV1(t, c.w, c.c, c.p)
		return r.Cached[len(r.Cached)-1] < m*int32(c.c.BlockSize)
	}, [3]bool{false, false, true}}.check(t, 3)
}

// TestEdgesOfTheHinge: the term counts the tokens of a step beyond 256, worked out here. One step
// prefills 1 token each, the next one decodes for all.
func TestEdgesOfTheHinge(t *testing.T) {
	for by := range int64(4) {
		n := 255 + by
		p := &Params{Coeffs: [NumTerms]float64{intercept: 1, termHinge: 0.5}}
		w, c := same(int(n), 1, 2), v1TestConfig()
		c.MaxNumSeqs = 1000
		checkEngines(t, uint64(by), w, c, p)
		step := 1 + 0.5*float64(max(0, n-256))
		r := runV1(t, w, c, p)
		checkEqual(t, "TTFT", step, r.TTFT[0])
		checkEqual(t, "E2E", 2*step, r.E2E[0])
		one := runV1(t, same(1, n, 1), c, p)
		checkEqual(t, "of one prompt", step, one.TTFT[0])
	}
}

// TestV1RenewalCountsFromSending: where steps take the intercept alone, a latency is so many of it, and
// that is its renewal derivative too, whenever in a step the request is sent. Of requests that find a
// queue it counts from when that formed, so there is none here.
func TestV1RenewalCountsFromSending(t *testing.T) {
	for _, at := range []float64{2, 2.25, 2.75, 3} {
		w := lengths([]float64{0, at}, []int64{3, 3}, []int64{9, 3})
		s, err := New(w, v1TestConfig())
		if err != nil {
			t.Fatal(err)
		}
		for _, engine := range []Engine{Reference, Auto} {
			r := newResult(2)
			r.Renewal = true
			if err := s.Run(secondSteps(), engine, r); err != nil {
				t.Fatal(err)
			}
			checkEqual(t, "of the TTFT", r.TTFT[1], r.JacTTFT[NumParams+intercept])
			checkEqual(t, "of the E2E", r.E2E[1], r.JacE2E[NumParams+intercept])
		}
	}
}
