package sim

import (
	"slices"
	"testing"
)

// openBatch is a simulator and n candidates for it, all the same.
func openBatch(t *testing.T, w *Workload, config Config, n int) (*Simulator, *Candidates) {
	t.Helper()
	s, err := New(w, config)
	if err != nil {
		t.Fatal(err)
	}
	c := &Candidates{
		Terms: Terms{Count: NumQuadratic},
		TTFT:  make([]float64, n*s.NumRequests()), E2E: make([]float64, n*s.NumRequests()),
		Summary: make([]int64, n*SummaryColumns),
	}
	for range n {
		c.Coeffs = append(c.Coeffs, exp1Baseline.Coeffs[:NumQuadratic]...)
		c.Overheads = append(c.Overheads, exp1Baseline.Overheads[:]...)
	}
	return s, c
}

// TestBatchLeavesNoGarbage: a worker allocates nothing a candidate, and one alone nothing at all,
// whichever engine runs. What it left, the collector would come for, and stop all workers.
func TestBatchLeavesNoGarbage(t *testing.T) {
	starve := func(c *Config) { c.NumGPUBlocks = 400 }
	for name, change := range map[string]func(*Config){
		"blis":    func(c *Config) { c.Semantics = BLIS202507 },
		"plain":   func(*Config) {},
		"starved": starve,
		"0.9.1":   func(c *Config) { c.Semantics = VLLMV1_0_9_1 },
		"async":   func(c *Config) { c.AsyncScheduling = true; starve(c) },
	} {
		t.Run(name, func(t *testing.T) {
			w, config := experimentLike(100)
			config.Semantics, config.EnableChunkedPrefill, config.ReserveFullISL = VLLMV1, true, true
			change(&config)
			batchLeavesNoGarbage(t, w, config)
		})
	}
}

func batchLeavesNoGarbage(t *testing.T, w *Workload, config Config) {
	t.Helper()
	const n = 200
	s, c := openBatch(t, w, config, n)
	for _, jacobian := range []bool{false, true} {
		if jacobian {
			cells := n * s.NumRequests() * (NumQuadratic + NumOverheads)
			c.JacTTFT, c.JacE2E = make([]float64, cells), make([]float64, cells)
		}
		for workers, most := range map[int]float64{1: 0, 2: 20, 3: 25} {
			run := func() {
				if err := s.RunBatch(n, c, Leap, workers); err != nil {
					t.Fatal(err)
				}
			}
			if got := testing.AllocsPerRun(5, run); got > most {
				t.Errorf("%d candidates by %d workers, derivatives %v: %v allocations, expected at most %v",
					n, workers, jacobian, got, most)
			}
		}
	}
}

// TestBatchesOfOtherTerms: what a term of one batch was is 0 in the next one that lacks it.
func TestBatchesOfOtherTerms(t *testing.T) {
	w, config := experimentLike(100)
	config.Semantics, config.EnableChunkedPrefill, config.ReserveFullISL = VLLMV1, true, true
	s, c := openBatch(t, w, config, 1)
	few := *c
	few.Terms, few.Coeffs = Terms{Count: 1}, c.Coeffs[:1]
	alone := func() []float64 {
		if err := s.RunBatch(1, &few, Leap, 1); err != nil {
			t.Fatal(err)
		}
		return slices.Clone(few.E2E)
	}
	want := alone()
	if err := s.RunBatch(1, c, Leap, 1); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(c.E2E, want) {
		t.Fatal("the other terms do nothing")
	}
	if !slices.Equal(alone(), want) {
		t.Error("the terms of another batch count")
	}
}
