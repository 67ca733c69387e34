package sim

import (
	"fmt"
	"testing"
)

// What the skip engine decides by blocks, tokens, seats and moments. Every case of the other edges is
// run by it too.

// onlySkip is an edge whose three sides the plain engine leaves to the skip engine.
func onlySkip(name string, at func(by int64) trial, bites func(t *testing.T, c trial) bool, on [3]bool) edge {
	return edge{name, at, [3]string{skip, skip, skip}, bites, on}
}

// waitsAtFirst tells whether the second request is not admitted together with the first.
func waitsAtFirst(t *testing.T, c trial) bool {
	r := runV1(t, c.w, c.c, c.p)
	return r.ScheduledS[1] != r.ScheduledS[0]
}

// TestEdgesOfAdmission: the head of the queue needs a block more or less than are free, for its whole
// prompt, for a first chunk of it, or above the watermark.
func TestEdgesOfAdmission(t *testing.T) {
	refused := [3]bool{true, false, false}
	onlySkip("blocks of a whole prompt", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens = 2+4+1+by, 12 // of the second, 4 tokens come first
		return trial{lengths([]float64{0, 0}, []int64{8, 16}, []int64{20, 20}), c, edgeSteps()}
	}, waitsAtFirst, refused).check(t, 2)
	onlySkip("blocks of a first chunk", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens, c.ReserveFullISL = 5+2+1+by, 19+8, false
		return trial{lengths([]float64{0, 0}, []int64{19, 16}, []int64{8, 20}), c, edgeSteps()}
	}, waitsAtFirst, refused).check(t, 3)
	onlySkip("watermark", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.Watermark = 128, float64(127-2-2+by)/128
		return trial{same(2, 8, 20), c, edgeSteps()}
	}, waitsAtFirst, [3]bool{false, false, true}).check(t, 2)
	onlySkip("watermark, of a first chunk", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.Watermark = 128, float64(127-2-1+by)/128
		c.ReserveFullISL, c.MaxNumBatchedTokens = false, 12
		return trial{same(2, 8, 20), c, edgeSteps()}
	}, waitsAtFirst, [3]bool{false, false, true}).check(t, 2)
	onlySkip("nobody but the head", func(by int64) trial {
		c := watermarked(125 + by) // leaves 2, 1 or no blocks beside another request
		c.c.MaxNumSeqs = 1
		return c
	}, ends(OK), [3]bool{true, true, true}).check(t, 2)
	onlySkip("blocks of a hit that nobody holds", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks = 3 + 4 + 1 + by
		w := withPrompts(1, tokens(0, 12), tokens(50, 9), tokens(0, 13))
		w.OutputTokens[1], w.OutputTokens[2] = 5, 30
		return trial{w, c, secondSteps()}
	}, nil, [3]bool{}).check(t, 3)
	onlySkip("a seat", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumSeqs = 10, 3+by
		return trial{lengths([]float64{0, 0, 0, 0.01}, []int64{8, 6, 3, 3}, []int64{20, 9, 16, 4}), c, edgeSteps()}
	}, nil, [3]bool{}).check(t, 3)
	onlySkip("budget for the head", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens = 10, 3+by
		return trial{lengths([]float64{0, 0, 0, 0.01}, []int64{8, 6, 3, 3}, []int64{20, 9, 16, 4}), c, edgeSteps()}
	}, nil, [3]bool{}).check(t, 3)
	onlySkip("a whole prompt in the budget", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens, c.EnableChunkedPrefill = 5+1, 16+by, false
		return trial{same(2, 8, 5), c, edgeSteps()}
	}, waitsAtFirst, refused).check(t, 2)
}

// TestEdgesOfShortage: blocks last for all of a stretch of decodes or for a batch, or just not.
func TestEdgesOfShortage(t *testing.T) {
	for _, prompt := range []int64{5, 6, 7, 8} {
		e := edge{fmt.Sprintf("decodes after %d tokens", prompt), func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 4*5 + 1 + by // of 4 requests
			return trial{same(4, prompt, 21-prompt), c, edgeSteps()}
		}, [3]string{skip, plain, plain}, preempts, [3]bool{true, false, false}}
		e.check(t, 3)
	}
	onlySkip("decodes of all phases", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks = 4*5 + 1 + by
		w := lengths([]float64{0, 0, 0, 0}, []int64{5, 6, 7, 8}, []int64{25, 30, 33, 38})
		return trial{w, c, edgeSteps()}
	}, preempts, [3]bool{true, true, true}).check(t, 3)
	onlySkip("a chunk beside decodes", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens, c.ReserveFullISL = 2+3+1+by, 6, false
		return trial{lengths([]float64{0, 0.001}, []int64{5, 13}, []int64{4, 8}), c, edgeSteps()}
	}, nil, [3]bool{}).check(t, 3)
}

// TestEdgesOfFills: the head of the queue may be admitted as soon as a request that decodes fills the
// block that it can hit. It is sent around the steps that do.
func TestEdgesOfFills(t *testing.T) {
	for n := range int64(10) {
		onlySkip(fmt.Sprintf("sent at step %d", n+1), func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 4 + 1
			w := withPrompts(12, tokens(0, 4), append(tokens(0, 12), 99))
			w.ArrivalS[1] = float64(n+1) + 1e-6*float64(by)
			w.OutputTokens[1] = 2
			w.OutputIDs = &Ragged{Offsets: []int64{0}}
			w.OutputIDs.push(tokens(4, 12))
			w.OutputIDs.push(tokens(300, 2))
			return trial{w, c, secondSteps()}
		}, nil, [3]bool{}).check(t, 3)
	}
}

// TestEdgesOfPatience: a prompt that the pool can't hold is prefilled, preempted and prefilled again,
// for ever, as the engine never sleeps with asynchronous scheduling. It hangs after as many steps as
// the rule says, 2 · (40 + 1) + 8 and one more, or reaches the horizon before.
func TestEdgesOfPatience(t *testing.T) {
	const patience = 2*(40+1) + 8
	e := onlySkip("patience", func(by int64) trial {
		c := v1TestConfig()
		c.NumGPUBlocks, c.MaxNumBatchedTokens, c.ReserveFullISL = 4+1, 4, false
		c.EnablePrefixCaching, c.HorizonS = false, patience+float64(by)
		return trial{same(1, 40, 1), c, secondSteps()}
	}, ends(Hang), [3]bool{false, true, true})
	e.checkOnly(t, "asynchronous")
	c := e.at(1)
	c.c.AsyncScheduling = true
	checkEqual(t, "steps", int64(patience+1), runV1(t, c.w, c.c, c.p).Steps)
}

// TestEdgesOfTheThreshold: a lone request is cut by it in the release of mid-2025 only. The steps are
// worked out: 7 tokens in chunks of 3 take three.
func TestEdgesOfTheThreshold(t *testing.T) {
	for _, c := range []struct {
		semantics Semantics
		requests  int
		steps     int64
	}{{VLLMV1, 1, 1}, {VLLMV1, 2, 3}, {VLLMV1_0_9_1, 1, 3}, {VLLMV1_0_9_1, 2, 3}} {
		config := v1TestConfig()
		config.Semantics, config.LongPrefillTokenThreshold = c.semantics, 3
		one := trial{same(c.requests, 7, 1), config, secondSteps()}
		checkEqual(t, fmt.Sprint("steps of ", c), c.steps, runV1(t, one.w, one.c, one.p).Steps)
		checkEqual(t, "engine", skip, whoRuns(t, one))
		checkSkip(t, one)
	}
}
