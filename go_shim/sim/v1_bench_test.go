package sim

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// sharePrefixes gives every prompt one of some system prompts of 128 tokens, or as much of it as fits
// in half of the prompt; the rest is its own.
func sharePrefixes(w *Workload) {
	rng := rand.New(rand.NewPCG(5, 5))
	w.PromptIDs = &Ragged{Offsets: []int64{0}}
	for _, n := range w.InputTokens {
		system, ids := 1000*rng.Int32N(8), make([]int32, n)
		for j := range ids {
			if ids[j] = system + int32(j); int64(j) >= min(128, n/2) {
				ids[j] = 10000 + rng.Int32N(100000)
			}
		}
		w.PromptIDs.push(ids)
	}
}

// converse makes every other request the second turn of the one before it: its prompt repeats prompt
// and output, and its user's next words follow.
func converse(w *Workload) {
	sharePrefixes(w)
	prompts, outputs := &Ragged{Offsets: []int64{0}}, &Ragged{Offsets: []int64{0}}
	rng := rand.New(rand.NewPCG(6, 6))
	for i := range w.InputTokens {
		prompt := w.PromptIDs.Row(i)
		if i%2 == 1 {
			prompt = append(append(prompts.Row(i-1), outputs.Row(i-1)...), prompt[:len(prompt)/4+1]...)
		}
		output := make([]int32, w.OutputTokens[i])
		for j := range output {
			output[j] = rng.Int32N(100000)
		}
		w.InputTokens[i] = int64(len(prompt))
		prompts.push(prompt)
		outputs.push(output)
	}
	w.PromptIDs, w.OutputIDs = prompts, outputs
}

func benchConfig() Config {
	_, c := experimentLike(1)
	c.Semantics, c.EnableChunkedPrefill, c.ReserveFullISL = VLLMV1, true, true
	return c
}

// secondsOf is what a run takes by one engine, once the scratch memory is warm.
func secondsOf(b *testing.B, s *Simulator, engine Engine, runs int, r *Result) float64 {
	b.Helper()
	if runs > 1 {
		benchRun(b, s, engine, r)
	}
	start := time.Now()
	for range runs {
		benchRun(b, s, engine, r)
	}
	return time.Since(start).Seconds() / float64(runs)
}

func benchRun(b *testing.B, s *Simulator, engine Engine, r *Result) {
	b.Helper()
	if err := s.Run(&benchCandidate, engine, r); err != nil || r.Outcome != OK {
		b.Fatal(err, r.Outcome)
	}
}

// benchCandidate is the original experiment's regression without its negative terms, with which
// steps of many prefills take less than no time.
var benchCandidate = func() Params {
	p := exp1Baseline
	for j := range p.Coeffs {
		p.Coeffs[j] = max(p.Coeffs[j], 0)
	}
	return p
}()

func benchOpen(b *testing.B, w *Workload, c Config) (*Simulator, *Result) {
	b.Helper()
	s, err := New(w, c)
	if err != nil {
		b.Fatal(err)
	}
	return s, bareResult(s.NumRequests())
}

// bareResult is what a fit asks for.
func bareResult(n int) *Result {
	r := newResult(n)
	r.JacTTFT, r.JacE2E = nil, nil
	return r
}

// benchmarkSkip times the skipping engine, and reports how its time compares with another run's.
func benchmarkSkip(b *testing.B, w *Workload, c Config, baseline func() float64, metric string) {
	s, r := benchOpen(b, w, c)
	if s.v1.leapable {
		b.Fatal("the plain engine would do")
	}
	benchRun(b, s, Leap, r)
	b.ReportAllocs()
	for b.Loop() {
		benchRun(b, s, Leap, r)
	}
	b.StopTimer()
	b.ReportMetric(float64(r.Steps), "steps")
	if baseline != nil {
		own := secondsOf(b, s, Leap, 5, r)
		b.ReportMetric(baseline()/own, metric)
	}
}

// benchmarkAgainstReference requires that both engines end with the same answer.
func benchmarkAgainstReference(b *testing.B, w *Workload, c Config) {
	benchmarkSkip(b, w, c, func() float64 {
		s, want := benchOpen(b, w, c)
		seconds := secondsOf(b, s, Reference, 1, want)
		got := bareResult(s.NumRequests())
		benchRun(b, s, Leap, got)
		if !sameBits(got.E2E, want.E2E) || got.Steps != want.Steps {
			b.Fatal("the engines differ")
		}
		preempted := 0
		for _, n := range want.Preemptions {
			preempted += int(n)
		}
		b.ReportMetric(float64(preempted), "preemptions")
		return seconds
	}, "reference/skip")
}

func benchmarkAgainstPlain(b *testing.B, w *Workload) {
	lengths := *w
	lengths.PromptIDs, lengths.OutputIDs = nil, nil
	benchmarkSkip(b, w, benchConfig(), func() float64 {
		s, r := benchOpen(b, &lengths, benchConfig())
		return secondsOf(b, s, Leap, 5, r)
	}, "plain/skip")
}

// BenchmarkV1Shared: every prompt shares a prefix, against the plain engine on the same lengths.
func BenchmarkV1Shared(b *testing.B) {
	w, _ := experimentLike(20000)
	sharePrefixes(w)
	benchmarkAgainstPlain(b, w)
}

// BenchmarkV1Shared1M: the same at size, with the memory that simulator and scratch take beside the
// inputs.
func BenchmarkV1Shared1M(b *testing.B) {
	const requests = 1_000_000
	w, _ := experimentLike(requests)
	sharePrefixes(w)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	r := bareResult(requests)
	before := heap()
	s, err := New(w, benchConfig())
	if err != nil {
		b.Fatal(err)
	}
	benchRun(b, s, Leap, r)
	beside := heap() - before
	for b.Loop() {
		benchRun(b, s, Leap, r)
	}
	b.ReportMetric(beside, "MB")
	runtime.KeepAlive(w)
}

// BenchmarkV1Turns: every other prompt repeats an earlier prompt and its output.
func BenchmarkV1Turns(b *testing.B) {
	w, _ := experimentLike(20000)
	converse(w)
	benchmarkAgainstPlain(b, w)
}

// starved is a pool for some 80 requests of the 256 that may run.
func starved(n int) (*Workload, Config) {
	w, _ := experimentLike(n)
	c := benchConfig()
	c.NumGPUBlocks = 2000
	return w, c
}

// BenchmarkV1Starved: a pool that never suffices, without a prefix to share.
func BenchmarkV1Starved(b *testing.B) {
	w, c := starved(1000)
	benchmarkAgainstReference(b, w, c)
}

// BenchmarkV1StarvedShared: the same with prefixes to hit and to evict.
func BenchmarkV1StarvedShared(b *testing.B) {
	w, c := starved(1000)
	sharePrefixes(w)
	benchmarkAgainstReference(b, w, c)
}

// BenchmarkV1StarvedTurnsAsync: conversations, asynchronous scheduling, admission without a reserve.
func BenchmarkV1StarvedTurnsAsync(b *testing.B) {
	w, c := starved(1000)
	converse(w)
	c.AsyncScheduling, c.ReserveFullISL = true, false
	benchmarkAgainstReference(b, w, c)
}

// BenchmarkV1Threshold: long prompts are cut, so that several are in mid-prefill.
func BenchmarkV1Threshold(b *testing.B) {
	w, _ := experimentLike(1000)
	c := benchConfig()
	c.LongPrefillTokenThreshold = 64
	benchmarkAgainstReference(b, w, c)
}

// BenchmarkV1SharedLong: outputs ten times as long, at a load that is the same.
func BenchmarkV1SharedLong(b *testing.B) {
	w, _ := experimentLike(20000)
	sharePrefixes(w)
	for i := range w.OutputTokens {
		w.OutputTokens[i] *= 10
		w.ArrivalS[i] *= 10
	}
	benchmarkSkip(b, w, benchConfig(), nil, "")
}
