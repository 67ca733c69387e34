package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainV1 draws cases that the leap engine is for: room for everybody, chunked prefills or not,
// seats that run out, closed loops, either kind of scheduling, and times that tie.
func plainV1(rng *rand.Rand) (*Workload, Config, *Params) {
	w, c, p := randomV1(rng)
	w.PromptIDs, w.OutputIDs = nil, nil
	c.NumGPUBlocks *= rng.Int64N(2) * 10
	c.LongPrefillTokenThreshold = 0
	c.MaxNumBatchedTokens = max(c.MaxNumBatchedTokens, c.MaxNumSeqs)
	stretch := []int64{1, 1, 30}[rng.IntN(3)]
	for i := range w.InputTokens {
		w.InputTokens[i] *= stretch
		w.OutputTokens[i] *= stretch
	}
	if c.MaxModelLen > 0 {
		c.MaxModelLen *= stretch
	}
	if rng.IntN(3) == 0 {
		tieTimes(rng, p)
	}
	mayTurnBack(rng, p)
	addTerms(rng, p)
	return w, c, p
}

// mayTurnBack makes some steps negative, now and then.
func mayTurnBack(rng *rand.Rand, p *Params) {
	if rng.IntN(20) == 0 {
		p.Coeffs[rng.IntN(NumQuadratic)] *= -1
	}
}

// tightV1 draws cases where requests meet in the cache and the pool: few blocks, prompts and outputs
// that repeat each other over many blocks, later turns of conversations, thresholds, small budgets,
// outputs long enough to be skipped through, and times that tie.
func tightV1(rng *rand.Rand) (*Workload, Config, *Params) {
	w, c, p := randomV1(rng)
	n := len(w.ArrivalS)
	longest := []int64{30, 100, 200}[rng.IntN(3)]
	w.InputTokens, w.OutputTokens, w.PromptIDs, w.OutputIDs = nil, nil, nil, nil
	var scripts [][]int32 // what requests are cut from
	for range 1 + rng.IntN(3) {
		script := make([]int32, 2*longest)
		for j := range script {
			script[j] = rng.Int32N(2)
		}
		scripts = append(scripts, script)
	}
	prompts, outputs := &Ragged{Offsets: []int64{0}}, &Ragged{Offsets: []int64{0}}
	for range n {
		input, output := 1+rng.Int64N(longest/2), rng.Int64N(longest)
		tokens := slices.Clone(scripts[rng.IntN(len(scripts))][:input+output])
		if rng.IntN(3) == 0 { // leaves the script somewhere
			for j := rng.Int64N(input + output); j < input+output; j++ {
				tokens[j] = 2 + rng.Int32N(1000)
			}
		}
		w.InputTokens, w.OutputTokens = append(w.InputTokens, input), append(w.OutputTokens, output)
		prompts.push(tokens[:input])
		outputs.push(tokens[input:])
	}
	if rng.IntN(8) > 0 {
		w.PromptIDs = prompts
		if rng.IntN(3) > 0 {
			w.OutputIDs = outputs
		}
	}
	c.EnablePrefixCaching = rng.IntN(6) > 0
	c.BlockSize = []int64{1, 2, 3, 4, 8, 16}[rng.IntN(6)]
	need := (longest*3/2)/c.BlockSize + 2 // what one request may hold
	c.NumGPUBlocks = int64(rng.IntN(8)/7) + need*(2+rng.Int64N(4))/2
	c.MaxNumSeqs = 1 + rng.Int64N(12)
	c.MaxNumBatchedTokens = []int64{3, 10, 40, 200, 2000}[rng.IntN(5)]
	c.LongPrefillTokenThreshold = rng.Int64N(2) * rng.Int64N(30)
	c.EnableChunkedPrefill = rng.IntN(4) > 0
	if c.MaxModelLen > 0 {
		c.MaxModelLen = longest/2 + rng.Int64N(longest)
	}
	if rng.IntN(2) == 0 {
		tieTimes(rng, p)
	}
	mayTurnBack(rng, p)
	addTerms(rng, p)
	return w, c, p
}

// evictingV1 draws cases in which prompts begin alike and nobody is short of blocks, but the pool has
// fewer than are ever taken: prefixes are evicted, early or late.
func evictingV1(rng *rand.Rand) (*Workload, Config, *Params) {
	w, c, p := tightV1(rng)
	w.OutputIDs = nil
	c.EnablePrefixCaching, c.EnableChunkedPrefill = true, true
	c.LongPrefillTokenThreshold, c.MaxModelLen, c.Watermark = 0, 0, 0
	c.MaxNumSeqs = 1 + rng.Int64N(3)
	c.MaxNumBatchedTokens = max(c.MaxNumBatchedTokens, c.MaxNumSeqs)
	longest := int64(1)
	for i, n := range w.InputTokens {
		longest = max(longest, ceilDiv(n+max(w.OutputTokens[i], 1), c.BlockSize))
	}
	c.NumGPUBlocks = 1 + c.MaxNumSeqs*longest + rng.Int64N(8*longest)
	return w, c, p
}

func (r *Ragged) push(ids []int32) {
	r.IDs = append(r.IDs, ids...)
	r.Offsets = append(r.Offsets, int64(len(r.IDs)))
}

// tieTimes makes steps of whole milliseconds, which meet arrivals and each other.
func tieTimes(rng *rand.Rand, p *Params) {
	p.Coeffs = [NumTerms]float64{intercept: float64(rng.IntN(4)) * 1e-3}
	p.Overheads = [NumOverheads]float64{0, 0, 1000 * float64(rng.IntN(2)), 1000 * float64(rng.IntN(2))}
}

func checkRandomV1(t *testing.T, seed uint64) bool {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0x71))
	draw := [...]func(*rand.Rand) (*Workload, Config, *Params){plainV1, randomV1, tightV1, tightV1, evictingV1}[seed%5]
	w, c, p := draw(rng)
	return checkEngines(t, seed, w, c, p)
}

// TestV1EnginesAgree compares the engines on random cases, none of which is left to the reference.
func TestV1EnginesAgree(t *testing.T) {
	for seed := *first; seed < *first+*cases; seed++ {
		if !checkRandomV1(t, seed) {
			t.Fatalf("seed %d: not by leaps", seed)
		}
	}
}

func FuzzV1EnginesAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkRandomV1(t, seed) })
}

// TestV1ClockSkips: skipping steps, whose contexts grow or do not matter, gives the same bits as walking
// them; stepsBefore, advanceBefore and compositionAfter count
// them.
func TestV1ClockSkips(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		start, base, gap := 1e6*rng.Float64(), 1e4*rng.Float64(), 1e3*rng.Float64()
		p := Params{}
		decodes, context := 1+rng.Int64N(30), rng.Int64N(3000)
		if rng.IntN(3) > 0 { // contexts that take or give up to the base, at the 50th step
			p.Coeffs[termContext] = (2*rng.Float64() - 1) * base / 1e6 / float64(context+50*decodes)
		}
		m := newModel(&p.Coeffs)
		walked, skipped := newV1Clock(m, gap), newV1Clock(m, gap)
		walked.jump(start)
		skipped.jump(start)
		skipped.pace(base, decodes, context)
		until := start + 1e5*rng.Float64()
		var n int64
		var last float64
		for walked.now < until && n < 50 {
			walked.pace(base, decodes, context)
			last = walked.advance(1)
			context += decodes
			n++
		}
		if got := skipped.stepsBefore(until, 50); got != n {
			t.Fatalf("%d steps before %v, want %d", got, until, n)
		}
		both := skipped
		if got := both.advanceBefore(until, 50); got != n || both.last != last || both.now != walked.now {
			t.Fatalf("ran %d steps before %v, to %v and %v, walked %d to %v and %v",
				got, until, both.last, both.now, n, last, walked.now)
		}
		if got := skipped.advance(n); got != last || skipped.now != walked.now {
			t.Fatalf("skipped to %v and %v, walked to %v and %v", got, skipped.now, last, walked.now)
		}
		at := start + (skipped.now-start)*rng.Float64()
		back, composed := skipped.compositionAfter(at)
		if composed != skipped.start(-back) || composed < at || back+1 < n && skipped.start(-back-1) >= at {
			t.Fatalf("composed at %v, %d batches ago, is the first since %v", composed, back, at)
		}
	}
	if still := newV1Clock(model{}, 0); !math.IsInf(still.now, -1) {
		t.Errorf("an engine begins at %v", still.now)
	}
}
