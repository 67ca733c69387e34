package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
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

// benchExtended is a candidate that has every term.
var benchExtended = func() Params {
	p := benchCandidate
	p.Coeffs[termContext], p.Coeffs[termAttention], p.Coeffs[termHinge] = 1e-8, 1e-9, 1e-6
	p.Coeffs[termMixed], p.Coeffs[termOut], p.Coeffs[termPrompt] = 1e-3, 1e-5, 1e-7
	return p
}()

// benchmarkTerms times a candidate with every term, and reports how many times as long as another run
// it takes.
func benchmarkTerms(b *testing.B, w *Workload, c Config, other func() float64, metric string) {
	s, r := benchOpen(b, w, c)
	own := secondsPer(b, s, &benchExtended, r)
	for b.Loop() {
		if err := s.Run(&benchExtended, Leap, r); err != nil || r.Outcome != OK {
			b.Fatal(err, r.Outcome)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(r.Steps), "steps")
	b.ReportMetric(own/other(), metric)
}

// secondsPer is what a run takes, the quickest of some.
func secondsPer(b *testing.B, s *Simulator, p *Params, r *Result) float64 {
	b.Helper()
	least := math.Inf(1)
	for range 20 {
		start := time.Now()
		if err := s.Run(p, Leap, r); err != nil || r.Outcome != OK {
			b.Fatal(err, r.Outcome)
		}
		least = min(least, time.Since(start).Seconds())
	}
	return least
}

// BenchmarkTerms: every term, against the original ones, by the plain engine.
func BenchmarkTerms(b *testing.B) {
	w, _ := experimentLike(5000)
	benchmarkTerms(b, w, benchConfig(), func() float64 {
		s, r := benchOpen(b, w, benchConfig())
		return secondsPer(b, s, &benchCandidate, r)
	}, "terms/quadratic")
}

// BenchmarkTermsSkip: the same by the skipping engine.
func BenchmarkTermsSkip(b *testing.B) {
	w, _ := experimentLike(5000)
	sharePrefixes(w)
	benchmarkTerms(b, w, benchConfig(), func() float64 {
		s, r := benchOpen(b, w, benchConfig())
		return secondsPer(b, s, &benchCandidate, r)
	}, "terms/quadratic")
}

// BenchmarkTermsLong: outputs of thousands of tokens and ten times as many. All requests come at once, so
// that both have as many batches that change, hardly any of which have two reasons to.
func BenchmarkTermsLong(b *testing.B) {
	short, _ := experimentLike(5000)
	long, _ := experimentLike(5000)
	for i := range long.OutputTokens {
		long.OutputTokens[i] *= 100
		short.OutputTokens[i] *= 10
		long.ArrivalS[i], short.ArrivalS[i] = 0, 0
	}
	c := benchConfig()
	c.NumGPUBlocks = 0
	benchmarkTerms(b, long, c, func() float64 {
		s, r := benchOpen(b, short, c)
		return secondsPer(b, s, &benchExtended, r)
	}, "long/short")
}

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
