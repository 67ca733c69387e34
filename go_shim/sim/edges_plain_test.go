package sim

import "testing"

// What is known before a run: v1.provablyLeapable.

// TestEdgesOfThePool: two requests of 8 + 8 tokens hold 4 blocks of 4 tokens each in the end.
func TestEdgesOfThePool(t *testing.T) {
	for _, e := range []edge{
		{"one block", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 8 + 1 + by // with the null block
			return trial{same(2, 8, 8), c, edgeSteps()}
		}, [3]string{skip, plain, plain}, preempts, [3]bool{true, false, false}},
		{"one block, as the unlimited pool has it", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 8 + 1 + by
			return trial{same(2, 8, 8), c, edgeSteps()}
		}, [3]string{skip, plain, plain}, changes(unlimited), [3]bool{true, false, false}},
		{"one token", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 8 + 1
			return trial{same(2, 8, 9+by), c, edgeSteps()} // the last token takes no block
		}, [3]string{plain, plain, skip}, preempts, [3]bool{false, false, true}},
		{"one seat", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks, c.MaxNumSeqs = 12+1, 3+by
			return trial{same(5, 8, 8), c, edgeSteps()}
		}, [3]string{plain, plain, skip}, preempts, [3]bool{false, false, true}},
		{"one request", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 12 + 1
			return trial{same(3+int(by), 8, 8), c, edgeSteps()}
		}, [3]string{plain, plain, skip}, preempts, [3]bool{false, false, true}},
		{"the hungriest that fit together", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks, c.MaxNumSeqs = 9+1+by, 2
			w := lengths([]float64{0, 0, 0}, []int64{4, 8, 8}, []int64{1, 13, 9}) // 1, 5 and 4 blocks
			return trial{w, c, edgeSteps()}
		}, [3]string{skip, plain, plain}, preempts, [3]bool{true, false, false}},
		{"the null block", func(by int64) trial {
			c := v1TestConfig()
			c.NumGPUBlocks = 9 + by
			return trial{same(1, 17, 16), c, edgeSteps()} // 32 tokens are computed
		}, [3]string{skip, plain, plain}, ends(OK), [3]bool{false, true, true}},
	} {
		e.check(t, 3)
	}
}

// watermarked has two requests that hold all their 4 blocks from the start, and leave so many of the
// 127 blocks to the watermark.
func watermarked(watermark int64) trial {
	c := v1TestConfig()
	c.NumGPUBlocks, c.Watermark = 128, float64(watermark)/128
	return trial{same(2, 16, 1), c, edgeSteps()}
}

// TestEdgesOfTheWatermark: it is kept free when a request is admitted beside another.
func TestEdgesOfTheWatermark(t *testing.T) {
	edge{
		"watermark", func(by int64) trial { return watermarked(127 - 8 + by) },
		[3]string{plain, plain, skip}, changes(noWatermark), [3]bool{false, false, true},
	}.check(t, 2)
}

// TestV1MidYear: the release of mid-2025 has no watermark, whatever the configuration says, nor
// the other settings that came later. The oracle is a run without them.
func TestV1MidYear(t *testing.T) {
	c := watermarked(126)
	c.c.Semantics = VLLMV1_0_9_1
	checkEqual(t, "changed by a watermark", false, changes(noWatermark)(t, c))
	checkEqual(t, "engine", plain, whoRuns(t, c))
	for name, set := range map[string]func(c *Config){
		"async_scheduling":           func(c *Config) { c.AsyncScheduling = true },
		"scheduler_reserve_full_isl": func(c *Config) { c.ReserveFullISL = true },
		"enable_chunked_prefill":     func(c *Config) { c.EnableChunkedPrefill = false },
	} {
		c := trial{same(3, 20, 4), v1TestConfig(), edgeSteps()}
		c.c.Semantics, c.c.NumGPUBlocks, c.c.MaxNumBatchedTokens = VLLMV1_0_9_1, 9, 16
		c.c.ReserveFullISL = false
		off := c.c
		set(&c.c)
		checkEqual(t, "changed by "+name, false, changes(func(c *trial) { c.c = off })(t, c))
	}
}

// TestEdgesOfPrompts: prompts of 8 tokens that are in nobody's way, as they are prefilled at once.
func TestEdgesOfPrompts(t *testing.T) {
	edge{"max_model_len", func(by int64) trial {
		c := v1TestConfig()
		c.MaxModelLen, c.MaxNumSeqs, c.MaxNumBatchedTokens = 9+by, 2, 5
		return trial{same(2, 8, 1), c, edgeSteps()}
	}, [3]string{skip, plain, plain}, ends(Unfinished), [3]bool{true, false, false}}.check(t, 2)
	edge{"max_model_len of 0.9.1", func(by int64) trial {
		c := v1TestConfig()
		c.MaxModelLen, c.MaxNumSeqs, c.MaxNumBatchedTokens = 9+by, 2, 5
		return trial{same(2, 8, 1), c, edgeSteps()}
	}, [3]string{skip, plain, plain}, ends(OK), [3]bool{true, true, true}}.checkOnly(t, "vllm-v1-0.9.1")
	edge{"threshold", func(by int64) trial {
		c := v1TestConfig()
		c.LongPrefillTokenThreshold = 8 + by
		return trial{same(2, 8, 4), c, edgeSteps()}
	}, [3]string{skip, plain, plain}, changes(noThreshold), [3]bool{true, false, false}}.check(t, 3)
	edge{"chunked prefill off", func(by int64) trial {
		c := v1TestConfig()
		c.EnableChunkedPrefill, c.MaxNumSeqs, c.MaxNumBatchedTokens = false, 2, 8+by
		return trial{same(3, 8, 4), c, edgeSteps()}
	}, [3]string{skip, plain, plain}, ends(Unfinished), [3]bool{true, false, false}}.check(t, 2)
	edge{"seats of the budget", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumSeqs, c.MaxNumBatchedTokens = 4, 4+by
		return trial{same(6, 3, 6), c, edgeSteps()}
	}, [3]string{skip, plain, plain}, nil, [3]bool{}}.check(t, 3)
	edge{"requests of the budget", func(by int64) trial {
		c := v1TestConfig()
		c.MaxNumBatchedTokens = 4
		return trial{same(4+int(by), 3, 6), c, edgeSteps()}
	}, [3]string{plain, plain, skip}, nil, [3]bool{}}.check(t, 3)
	edge{"block size", func(by int64) trial {
		c := v1TestConfig()
		c.BlockSize = maxLeapBlock + by
		return trial{same(3, 3, 6), c, edgeSteps()}
	}, [3]string{plain, plain, reference}, nil, [3]bool{}}.check(t, 3)
}

// checkOnly is check under one variant.
func (e edge) checkOnly(t *testing.T, name string) {
	for _, variant := range v1Variants {
		if variant.name != name {
			continue
		}
		for side, by := range []int64{-1, 0, 1} {
			c := e.at(by)
			variant.apply(&c.c)
			t.Run(e.name+[]string{", below", ", on", ", above"}[side], func(t *testing.T) { e.checkSide(t, side, c) })
		}
	}
}

// TestEdgesOfSharing: what requests have in common is prefixes of prompts, or nothing.
func TestEdgesOfSharing(t *testing.T) {
	hits := func(t *testing.T, c trial) bool { return runV1(t, c.w, c.c, c.p).Cached[1] >= 8 }
	edge{"prompts hold what is shared", func(by int64) trial {
		w := withPrompts(8, tokens(0, 8+by), tokens(0, 12))
		w.OutputIDs = &Ragged{Offsets: []int64{0}}
		w.OutputIDs.push(tokens(int32(8+by), 8)) // goes on as the second prompt does
		w.OutputIDs.push(tokens(100, 8))
		return trial{w, v1TestConfig(), edgeSteps()}
	}, [3]string{skip, skip, skip}, hits, [3]bool{true, true, true}}.check(t, 3)
	edge{"outputs leave the script", func(by int64) trial {
		w := withPrompts(8, tokens(0, 8+by), tokens(0, 12))
		w.OutputIDs = &Ragged{Offsets: []int64{0}}
		w.OutputIDs.push(append(tokens(int32(8+by), max(-by, 0)), tokens(200, 8-max(-by, 0))...))
		w.OutputIDs.push(tokens(100, 8))
		return trial{w, v1TestConfig(), edgeSteps()}
	}, [3]string{skip, plain, plain}, hits, [3]bool{true, true, true}}.check(t, 3)
	edge{"a full block is shared", func(by int64) trial {
		c := v1TestConfig()
		c.EnableChunkedPrefill = false
		second := append(tokens(0, 4+by), tokens(100, 9)...)
		return trial{withPrompts(4, tokens(0, 13), second), c, edgeSteps()}
	}, [3]string{plain, skip, skip}, changes(unlimited), [3]bool{false, true, true}}.check(t, 2)
	edge{"a repeat computes its last token", func(by int64) trial {
		return trial{withPrompts(4, tokens(0, 12), tokens(0, 8+1+by)), v1TestConfig(), edgeSteps()}
	}, [3]string{plain, plain, plain}, hits, [3]bool{false, true, true}}.check(t, 3)
}
