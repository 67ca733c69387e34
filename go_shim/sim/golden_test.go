package sim

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// goldenDir holds vectors recorded from programs that we did not write.
const goldenDir = "../../tests/data/golden"

// goldenTokens is a list of ids, or a length: ids that occur nowhere else in the case.
type goldenTokens struct {
	length int
	ids    []int32
}

func (g *goldenTokens) UnmarshalJSON(data []byte) error {
	var length struct {
		Len *int `json:"len"`
	}
	if json.Unmarshal(data, &length) == nil && length.Len != nil {
		g.length = *length.Len
		return nil
	}
	err := json.Unmarshal(data, &g.ids)
	g.length = len(g.ids)
	return err
}

type goldenRequests []struct {
	ArrivalUS float64      `json:"arrival_us"`
	Input     goldenTokens `json:"input_tokens"`
	Output    goldenTokens `json:"output_tokens"`
}

type goldenCase struct {
	Config struct {
		MaxNumSeqs          int64   `json:"max_num_seqs"`
		MaxNumBatchedTokens int64   `json:"max_num_batched_tokens"`
		BlockSize           int64   `json:"block_size"`
		NumKVBlocks         int64   `json:"num_kv_blocks"`
		HorizonUS           float64 `json:"horizon_us"`
	} `json:"config"`
	Coeffs    [NumTerms]float64     `json:"coeffs"`
	Overheads [NumOverheads]float64 `json:"overheads_us"`
	Requests  goldenRequests        `json:"requests"`
	Expected  struct {
		TTFTUS  []*int64 `json:"ttft_us"`
		E2EUS   []*int64 `json:"e2e_us"`
		Steps   *int64   `json:"steps"`
		PeakKV  *int64   `json:"peak_kv_blocks"`
		Outcome string   `json:"outcome"`
	} `json:"expected"`
}

// workload spells unique ids out, counting down from the largest.
func (g goldenRequests) workload() *Workload {
	w := &Workload{PromptIDs: &Ragged{Offsets: []int64{0}}, OutputIDs: &Ragged{Offsets: []int64{0}}}
	unique := int32(math.MaxInt32)
	add := func(r *Ragged, t goldenTokens) {
		ids := t.ids
		for len(ids) < t.length {
			ids = append(ids, unique)
			unique--
		}
		r.IDs = append(r.IDs, ids...)
		r.Offsets = append(r.Offsets, int64(len(r.IDs)))
	}
	for _, q := range g {
		w.ArrivalS = append(w.ArrivalS, q.ArrivalUS/microsPerSecond)
		w.InputTokens = append(w.InputTokens, int64(q.Input.length))
		w.OutputTokens = append(w.OutputTokens, int64(q.Output.length))
		add(w.PromptIDs, q.Input)
		add(w.OutputIDs, q.Output)
	}
	return w
}

// readGolden returns the recorded cases of a kind by their names.
func readGolden[Case any](t *testing.T, kind string) map[string]*Case {
	t.Helper()
	file, err := os.Open(filepath.Join(goldenDir, kind+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.NewDecoder(text).Decode(&all); err != nil {
		t.Fatal(err)
	}
	cases := make(map[string]*Case)
	for _, data := range all {
		var named struct{ Name string }
		c := new(Case)
		if err := errors.Join(json.Unmarshal(data, &named), json.Unmarshal(data, c)); err != nil {
			t.Fatal(err)
		}
		cases[named.Name] = c
	}
	return cases
}

func newResult(n int) *Result {
	return &Result{
		TTFT: make([]float64, n), E2E: make([]float64, n),
		Status: make([]int32, n), Cached: make([]int32, n), Preemptions: make([]int32, n),
		FirstStep: make([]int32, n), LastStep: make([]int32, n), BusyPeriod: make([]int32, n),
		JacTTFT: make([]float64, n*NumParams), JacE2E: make([]float64, n*NumParams), Terms: Terms{Count: NumTerms},
		Generated: make([]int32, n), SentS: make([]float64, n), ScheduledS: make([]float64, n),
	}
}

// TestGoldenBLIS compares both engines with the original experiment's simulator, to the tick.
func TestGoldenBLIS(t *testing.T) {
	leapt := 0
	for name, g := range readGolden[goldenCase](t, "blis-2025-07") {
		t.Run(name, func(t *testing.T) {
			w := g.Requests.workload()
			s, err := New(w, Config{
				Semantics: BLIS202507, MaxNumSeqs: g.Config.MaxNumSeqs,
				MaxNumBatchedTokens: g.Config.MaxNumBatchedTokens, BlockSize: g.Config.BlockSize,
				NumGPUBlocks: g.Config.NumKVBlocks, EnablePrefixCaching: true,
				HorizonS: g.Config.HorizonUS / microsPerSecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, engine := range []Engine{Reference, Auto} {
				r := newResult(s.NumRequests())
				if err := s.Run(&Params{Coeffs: g.Coeffs, Overheads: g.Overheads}, engine, r); err != nil {
					t.Fatal(err)
				}
				if r.Engine == Leap {
					leapt++
				}
				checkGolden(t, g, r)
			}
		})
	}
	t.Logf("%d cases by leaps", leapt)
}

func checkGolden(t *testing.T, g *goldenCase, r *Result) {
	t.Helper()
	checkTicks(t, "TTFT", g.Expected.TTFTUS, r.TTFT)
	checkTicks(t, "E2E", g.Expected.E2EUS, r.E2E)
	if want := g.Expected.Steps; want != nil && *want != r.Steps {
		t.Errorf("engine %d: %d steps, want %d", r.Engine, r.Steps, *want)
	}
	if want := g.Expected.PeakKV; want != nil && *want != r.PeakKVBlocks {
		t.Errorf("engine %d: peak of %d KV blocks, want %d", r.Engine, r.PeakKVBlocks, *want)
	}
	switch g.Expected.Outcome {
	case "hangs":
		if r.Outcome != Hang {
			t.Errorf("engine %d: outcome %d, want Hang", r.Engine, r.Outcome)
		}
		return
	case "negative":
		if r.Outcome != NegativeStep {
			t.Errorf("engine %d: outcome %d, want NegativeStep", r.Engine, r.Outcome)
		}
	}
	for i, want := range g.Expected.E2EUS {
		if (want != nil) != (Status(r.Status[i]) == Finished) {
			t.Errorf("engine %d: request %d has status %d and E2E %v", r.Engine, i, r.Status[i], r.E2E[i])
		}
	}
}

func checkTicks(t *testing.T, what string, want []*int64, got []float64) {
	t.Helper()
	for i, w := range want {
		switch {
		case w == nil && math.IsNaN(got[i]):
		case w != nil && math.Round(got[i]*microsPerSecond) == float64(*w):
		default:
			t.Errorf("%s of request %d is %v s, want %v µs", what, i, got[i], deref(w))
			return
		}
	}
}

func deref[T any](p *T) any {
	if p == nil {
		return "none"
	}
	return *p
}
