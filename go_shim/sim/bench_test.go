package sim

import (
	"math"
	"math/rand/v2"
	"testing"
)

// experimentLike is a workload of the size and rates of the original experiment: Poisson arrivals at
// 30 requests a second, a third of the outputs a single token.
func experimentLike(n int) (*Workload, Config) {
	rng := rand.New(rand.NewPCG(42, 1))
	w := &Workload{}
	now := 0.0
	for range n {
		w.ArrivalS = append(w.ArrivalS, now)
		w.InputTokens = append(w.InputTokens, int64(10+rng.IntN(400)))
		out := int64(1)
		if rng.IntN(100) >= 35 {
			out = int64(10 + rng.IntN(790))
		}
		w.OutputTokens = append(w.OutputTokens, out)
		now += rng.ExpFloat64() / 30
	}
	return w, Config{
		MaxNumSeqs: 256, MaxNumBatchedTokens: 2048, BlockSize: 16, NumGPUBlocks: 94060,
		EnablePrefixCaching: true, HorizonS: math.Inf(1),
	}
}

func benchmarkEngine(b *testing.B, requests int, engine Engine, semantics Semantics, derivatives bool) {
	w, c := experimentLike(requests)
	c.Semantics, c.EnableChunkedPrefill, c.ReserveFullISL = semantics, true, true
	s, err := New(w, c)
	if err != nil {
		b.Fatal(err)
	}
	r := newResult(requests)
	r.Terms.Count = NumQuadratic
	if !derivatives { // as in a batch: latencies only
		r = &Result{TTFT: r.TTFT, E2E: r.E2E, NoPeak: true}
	}
	candidates := manyCandidates(64)
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Run(&candidates[next], engine, r); err != nil {
			b.Fatal(err)
		}
		next = (next + 1) % len(candidates)
	}
}

func BenchmarkBLISLeap100(b *testing.B)      { benchmarkEngine(b, 100, Leap, BLIS202507, false) }
func BenchmarkBLISReference100(b *testing.B) { benchmarkEngine(b, 100, Reference, BLIS202507, false) }
func BenchmarkLeap100(b *testing.B)          { benchmarkEngine(b, 100, Leap, VLLMV1, false) }
func BenchmarkLeap100Jacobian(b *testing.B)  { benchmarkEngine(b, 100, Leap, VLLMV1, true) }
func BenchmarkReference100(b *testing.B)     { benchmarkEngine(b, 100, Reference, VLLMV1, false) }
func BenchmarkLeap1M(b *testing.B)           { benchmarkEngine(b, 1_000_000, Leap, VLLMV1, false) }

// manyCandidates keeps the processor from learning the branches of a single one by heart.
func manyCandidates(n int) []Params {
	rng := rand.New(rand.NewPCG(7, 7))
	candidates := make([]Params, n)
	for i := range candidates {
		candidates[i] = exp1Baseline
		for j := range candidates[i].Coeffs {
			candidates[i].Coeffs[j] *= 0.9 + 0.2*rng.Float64()
		}
	}
	return candidates
}
