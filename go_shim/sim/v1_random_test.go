package sim

import (
	"math"
	"math/rand/v2"
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
	if rng.IntN(3) == 0 { // steps of whole milliseconds meet arrivals and each other
		p.Coeffs = [NumCoeffs]float64{intercept: float64(rng.IntN(4)) * 1e-3}
		p.Overheads = [NumOverheads]float64{0, 0, 1000 * float64(rng.IntN(2)), 1000 * float64(rng.IntN(2))}
	}
	if rng.IntN(20) == 0 {
		p.Coeffs[rng.IntN(NumCoeffs)] *= -1
	}
	return w, c, p
}

func checkRandomV1(t *testing.T, seed uint64) bool {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0x71))
	draw := plainV1
	if seed%4 == 0 {
		draw = randomV1
	}
	w, c, p := draw(rng)
	return checkEngines(t, seed, w, c, p)
}

func TestV1EnginesAgree(t *testing.T) {
	const cases = 4000
	leapt := 0
	for seed := range uint64(cases) {
		if checkRandomV1(t, seed) {
			leapt++
		}
	}
	t.Logf("%d of %d cases by leaps", leapt, cases)
	if leapt < cases/4 {
		t.Errorf("only %d of %d cases reached the leap engine", leapt, cases)
	}
}

func FuzzV1EnginesAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkRandomV1(t, seed) })
}

// TestV1ClockSkips: skipping steps gives the same bits as walking them, and stepsBefore counts them.
func TestV1ClockSkips(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		start, duration, gap := 1e6*rng.Float64(), 1e4*rng.Float64(), 1e3*rng.Float64()
		walked, skipped := newV1Clock(), newV1Clock()
		walked.jump(start)
		skipped.jump(start)
		walked.pace(duration, gap)
		skipped.pace(duration, gap)
		until := start + 1e5*rng.Float64()
		var n int64
		var last float64
		for walked.now < until && n < 50 {
			last = walked.advance(1)
			n++
		}
		if got := skipped.stepsBefore(until, 50); got != n {
			t.Fatalf("%d steps before %v, want %d", got, until, n)
		}
		if got := skipped.advance(n); got != last || skipped.now != walked.now {
			t.Fatalf("skipped to %v and %v, walked to %v and %v", got, skipped.now, last, walked.now)
		}
	}
	if still := newV1Clock(); !math.IsInf(still.now, -1) {
		t.Errorf("an engine begins at %v", still.now)
	}
}
