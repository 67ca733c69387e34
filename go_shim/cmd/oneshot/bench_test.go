package main

import (
	"encoding/json"
	"os"
	"testing"

	"pysimbind/sim"
)

// The benchmarks time the engines alone on a case of the caller's: the environment names a file as
// oneshot reads it, and a file with a list of candidates, each its coeffs followed by its
// overheads. benchmarks/ writes both.
const (
	caseVariable       = "ONESHOT_BENCH_CASE"
	candidatesVariable = "ONESHOT_BENCH_CANDIDATES"
)

func benchmarkEngine(b *testing.B, engine sim.Engine, jacobian bool) {
	s, candidates := benchmarkCase(b)
	got, want := newResult(s.NumRequests()), newResult(s.NumRequests())
	if jacobian {
		got.Terms.Count = sim.NumQuadratic
		cells := s.NumRequests() * (sim.NumQuadratic + sim.NumOverheads)
		got.JacTTFT, got.JacE2E = make([]float64, cells), make([]float64, cells)
	}
	for i := range candidates {
		check(b, s.Run(&candidates[i], engine, got))
		check(b, s.Run(&candidates[i], sim.Reference, want))
		// NaN never equals itself: a request that got no latency counts as a difference.
		for j := range want.TTFT {
			if got.TTFT[j] != want.TTFT[j] || got.E2E[j] != want.E2E[j] {
				b.Fatalf("candidate %d, request %d: the engines differ", i, j)
			}
		}
	}
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		check(b, s.Run(&candidates[next], engine, got))
		next = (next + 1) % len(candidates)
	}
}

func BenchmarkLeap(b *testing.B)      { benchmarkEngine(b, sim.Leap, false) }
func BenchmarkReference(b *testing.B) { benchmarkEngine(b, sim.Reference, false) }
func BenchmarkJacobian(b *testing.B)  { benchmarkEngine(b, sim.Leap, true) }

// BenchmarkBatch: all candidates by one worker, as Python has them run.
func BenchmarkBatch(b *testing.B) {
	s, candidates := benchmarkCase(b)
	n := len(candidates)
	cells := n * s.NumRequests()
	c := sim.Candidates{
		Terms: sim.Terms{Count: sim.NumTerms},
		TTFT:  make([]float64, cells), E2E: make([]float64, cells),
		Summary: make([]int64, n*sim.SummaryColumns),
	}
	for i := range candidates {
		c.Coeffs = append(c.Coeffs, candidates[i].Coeffs[:]...)
		c.Overheads = append(c.Overheads, candidates[i].Overheads[:]...)
	}
	run := func() { check(b, s.RunBatch(n, &c, sim.Leap, 1)) }
	run()
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/candidate")
}

func benchmarkCase(b *testing.B) (*sim.Simulator, []sim.Params) {
	if os.Getenv(caseVariable) == "" {
		b.Skipf("%s names no file", caseVariable)
	}
	data, err := os.ReadFile(os.Getenv(caseVariable))
	check(b, err)
	in, err := parse(data)
	check(b, err)
	s, err := in.open()
	check(b, err)
	data, err = os.ReadFile(os.Getenv(candidatesVariable))
	check(b, err)
	var rows [][]float64
	check(b, json.Unmarshal(data, &rows))
	candidates := make([]sim.Params, len(rows))
	for i, row := range rows {
		split := min(sim.NumQuadratic, len(row))
		p, err := params(row[:split], row[split:])
		check(b, err)
		candidates[i] = *p
	}
	return s, candidates
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}
