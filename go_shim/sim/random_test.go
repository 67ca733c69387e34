package sim

import (
	"flag"
	"math"
	"math/rand/v2"
	"testing"
)

// How many random cases each test of the engines draws; for a long run, such as
//
//	go test -timeout 1h -run EnginesAgree ./sim -args -first 1000000 -cases 500000
var (
	first = flag.Uint64("first", 0, "number of the first random case")
	cases = flag.Uint64("cases", 3000, "random cases for each test of the engines")
)

// randomCase draws a workload, a configuration and a candidate of every kind that the engines tell
// apart: bursts and gaps, few seats, small budgets, few blocks, shared prefixes, negative steps.
func randomCase(seed uint64) (*Workload, Config, *Params) {
	rng := rand.New(rand.NewPCG(seed, 0x51b))
	return randomWorkload(rng), randomConfig(rng), randomParams(rng)
}

func randomWorkload(rng *rand.Rand) *Workload {
	w := &Workload{}
	n := 1 + rng.IntN(40)
	if rng.IntN(3) == 0 {
		n = 1 + rng.IntN(5)
	}
	gap := []float64{0, 300e-6, 0.01, 0.1}[rng.IntN(4)]
	grid := []float64{1, 1, 500}[rng.IntN(3)] // coarse arrivals tie with steps and with one another
	longest := []int{1, 20, 300}[rng.IntN(3)]
	leastPrompt := rng.IntN(8) / 7 // an eighth of the workloads may hold empty prompts
	now := 0.0
	for range n {
		w.ArrivalS = append(w.ArrivalS, math.Round(now*1e6/grid)*grid/1e6)
		w.InputTokens = append(w.InputTokens, int64(1-leastPrompt+rng.IntN(longest+1)))
		w.OutputTokens = append(w.OutputTokens, int64(rng.IntN(longest+2)))
		now += rng.ExpFloat64() * gap
	}
	if rng.IntN(3) == 0 {
		shareIDs(rng, w)
	}
	return w
}

// shareIDs gives the requests token ids of a tiny alphabet, so that prefixes repeat.
func shareIDs(rng *rand.Rand, w *Workload) {
	alphabet := 1 + rng.IntN(2)
	draw := func(counts []int64) *Ragged {
		r := &Ragged{Offsets: []int64{0}}
		for _, n := range counts {
			for range n {
				r.IDs = append(r.IDs, int32(rng.IntN(alphabet)))
			}
			r.Offsets = append(r.Offsets, int64(len(r.IDs)))
		}
		return r
	}
	w.PromptIDs = draw(w.InputTokens)
	if rng.IntN(2) == 0 {
		w.OutputIDs = draw(w.OutputTokens)
	}
}

func randomConfig(rng *rand.Rand) Config {
	c := Config{
		MaxNumSeqs:          []int64{1, 3, 16, 256}[rng.IntN(4)],
		MaxNumBatchedTokens: []int64{4, 64, 512, 2048}[rng.IntN(4)],
		BlockSize:           []int64{1, 4, 7, 16}[rng.IntN(4)],
		NumGPUBlocks:        []int64{0, 12, 100, 5000}[rng.IntN(4)],
		EnablePrefixCaching: rng.IntN(4) > 0,
		HorizonS:            math.Inf(1),
	}
	if rng.IntN(6) == 0 {
		c.HorizonS = rng.Float64()
	}
	return c
}

// exp1Baseline is the original experiment's regression, as DESIGN section 4 quotes it.
var exp1Baseline = Params{
	Coeffs: [NumTerms]float64{
		3.38283913e-05, 9.82346868e-06, -3.11237143e-06, 1.50291993e-03, 4.24173346e-08, -1.06897441e-07,
		1.92844617e-07, 2.60430816e-05, -7.72212201e-09, 2.67059068e-08, 7.20303280e-06, -1.06904337e-08,
		-1.05254706e-05, -9.19828725e-04, 0.005708624032334771,
	},
	Overheads: [NumOverheads]float64{544, 80, 1000, 6000},
}

func randomParams(rng *rand.Rand) *Params {
	p := exp1Baseline
	if rng.IntN(3) == 0 { // steps that meet arrivals
		p.Coeffs = [NumTerms]float64{intercept: float64(rng.IntN(4)) * 500e-6}
		p.Overheads = [NumOverheads]float64{queueOverhead: float64(rng.IntN(3)) * 500}
	}
	if rng.IntN(6) == 0 {
		p.Coeffs[rng.IntN(NumQuadratic)] *= -3
	}
	if rng.IntN(40) == 0 {
		p.Coeffs[rng.IntN(NumQuadratic)] = 1e300
	}
	for i := range p.Coeffs {
		p.Coeffs[i] *= 1 + 0.3*rng.NormFloat64()
	}
	addTerms(rng, &p)
	return &p
}

// addTerms gives half of the candidates some of the terms that the original model lacks: of the order
// that servers have, so that steps meet arrivals, or negative.
func addTerms(rng *rand.Rand, p *Params) {
	if rng.IntN(2) == 0 {
		return
	}
	for term := NumQuadratic; term < NumTerms; term++ {
		unit := sizeOf(term)
		switch rng.IntN(6) {
		case 0:
			p.Coeffs[term] = unit
		case 1:
			p.Coeffs[term] = 10 * unit * rng.Float64()
		case 2:
			p.Coeffs[term] = -unit * rng.Float64() * float64(rng.IntN(2))
		}
	}
	if rng.IntN(60) == 0 {
		p.Coeffs[NumQuadratic+rng.IntN(NumTerms-NumQuadratic)] = 1e303
	}
}

// sizeOf is about as large as the coefficient of a term is on real servers, in seconds.
func sizeOf(term int) float64 {
	switch term {
	case termAttention:
		return 1e-8
	case termHinge:
		return 1e-4
	case termMixed:
		return 1e-3
	case termOut:
		return 1e-5
	}
	return 1e-6
}

func checkRandom(t *testing.T, seed uint64) bool {
	t.Helper()
	w, c, p := randomCase(seed)
	return checkEngines(t, seed, w, c, p)
}

// TestEnginesAgree compares the engines on random cases; it would be idle if the leap engine
// declined most of them.
func TestEnginesAgree(t *testing.T) {
	leapt := uint64(0)
	for seed := *first; seed < *first+*cases; seed++ {
		if checkRandom(t, seed) {
			leapt++
		}
	}
	t.Logf("%d of %d cases by leaps", leapt, *cases)
	if leapt < *cases/10 {
		t.Errorf("only %d of %d cases reached the leap engine", leapt, *cases)
	}
}

func FuzzEnginesAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkRandom(t, seed) })
}
