package sim

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"testing"
)

// v1Golden is a run of vLLM's own scheduler with steps of one second.
type v1Golden struct {
	Config struct {
		MaxNumSeqs          int64   `json:"max_num_seqs"`
		MaxNumBatchedTokens int64   `json:"max_num_batched_tokens"`
		Threshold           int64   `json:"long_prefill_token_threshold"`
		BlockSize           int64   `json:"block_size"`
		NumKVBlocks         int64   `json:"num_kv_blocks"`
		PrefixCaching       bool    `json:"enable_prefix_caching"`
		ChunkedPrefill      bool    `json:"enable_chunked_prefill"`
		MaxModelLen         int64   `json:"max_model_len"`
		ReserveFullISL      bool    `json:"scheduler_reserve_full_isl"`
		Watermark           float64 `json:"watermark"`
		Async               bool    `json:"async_scheduling"`
	} `json:"config"`
	Coeffs    [NumTerms]float64     `json:"coeffs"`
	Overheads [NumOverheads]float64 `json:"overheads_us"`
	Requests  goldenRequests        `json:"requests"`
	Expected  struct {
		TTFT        []*float64     `json:"ttft_s"`
		E2E         []*float64     `json:"e2e_s"`
		Generated   []int32        `json:"output_tokens_generated"`
		Cached      []int32        `json:"cached_tokens_first"`
		Preemptions []int32        `json:"preemptions"`
		Steps       int64          `json:"steps"`
		PeakKV      int64          `json:"peak_kv_blocks"`
		Outcome     string         `json:"outcome"`
		Schedule    []v1GoldenStep `json:"schedule"`
		StepsBrief  [][4]float64   `json:"steps_brief"` // start, requests, tokens, preemptions
	} `json:"expected"`
}

type v1GoldenStep struct {
	T           float64    `json:"t"`
	ScheduledAt *float64   `json:"scheduled_at"` // only where scheduling is asynchronous
	Sched       [][2]int64 `json:"sched"`
	Cached      [][2]int64 `json:"cached"`
	Preempted   []int      `json:"preempted"`
	Resumed     []int      `json:"resumed"`
}

func (g *v1Golden) config(semantics Semantics) Config {
	c := g.Config
	return Config{
		Semantics: semantics, MaxNumSeqs: c.MaxNumSeqs, MaxNumBatchedTokens: c.MaxNumBatchedTokens,
		BlockSize: c.BlockSize, NumGPUBlocks: c.NumKVBlocks, EnablePrefixCaching: c.PrefixCaching,
		MaxModelLen: c.MaxModelLen, EnableChunkedPrefill: c.ChunkedPrefill,
		LongPrefillTokenThreshold: c.Threshold, ReserveFullISL: c.ReserveFullISL,
		Watermark: c.Watermark, AsyncScheduling: c.Async, HorizonS: math.Inf(1),
	}
}

// TestGoldenV1 compares the engines with the schedulers of vLLM 0.32 and 0.9.1: to the
// last bit, with everything that each step did.
func TestGoldenV1(t *testing.T) {
	for dir, semantics := range map[string]Semantics{
		"vllm-v1": VLLMV1, "vllm-v1-async": VLLMV1, "vllm-v1-0.9.1": VLLMV1_0_9_1,
	} {
		t.Run(dir, func(t *testing.T) {
			for name, g := range readGolden[v1Golden](t, dir) {
				t.Run(name, func(t *testing.T) { g.check(t, semantics) })
			}
		})
	}
}

func (g *v1Golden) check(t *testing.T, semantics Semantics) {
	t.Helper()
	s, err := New(g.Requests.workload(), g.config(semantics))
	if err != nil {
		t.Fatal(err)
	}
	var steps []StepTrace
	for _, engine := range []Engine{Auto, Reference} {
		r := newResult(s.NumRequests())
		if engine == Reference {
			r.OnStep = func(step StepTrace) { steps = append(steps, step) }
		}
		if err := s.Run(&Params{Coeffs: g.Coeffs, Overheads: g.Overheads}, engine, r); err != nil {
			t.Fatal(err)
		}
		g.checkResult(t, r)
	}
	g.checkSchedule(t, steps)
}

func (g *v1Golden) checkResult(t *testing.T, r *Result) {
	t.Helper()
	want := &g.Expected
	checkSeconds(t, "TTFT", want.TTFT, r.TTFT)
	checkSeconds(t, "E2E", want.E2E, r.E2E)
	checkEqual(t, "tokens generated", want.Generated, r.Generated)
	checkEqual(t, "cached tokens", want.Cached, r.Cached)
	checkEqual(t, "preemptions", want.Preemptions, r.Preemptions)
	checkEqual(t, "steps", want.Steps, r.Steps)
	checkEqual(t, "peak KV blocks", want.PeakKV, r.PeakKVBlocks)
	checkEqual(t, "outcome", map[string]Outcome{"ok": OK, "stuck": Unfinished}[want.Outcome], r.Outcome)
}

func (g *v1Golden) checkSchedule(t *testing.T, steps []StepTrace) {
	t.Helper()
	if n := len(g.Expected.StepsBrief); n > 0 && n != len(steps) {
		t.Fatalf("%d steps, want %d", len(steps), n)
	}
	for n, want := range g.Expected.StepsBrief {
		if got := briefStep(steps[n]); got != want {
			t.Fatalf("step %d is %v, want %v", n, got, want)
		}
	}
	if g.Expected.Schedule == nil {
		return
	}
	if len(steps) != len(g.Expected.Schedule) {
		t.Errorf("%d steps in the schedule, want %d", len(steps), len(g.Expected.Schedule))
	}
	for n, want := range g.Expected.Schedule[:min(len(steps), len(g.Expected.Schedule))] {
		got := goldenStep(steps[n], want.ScheduledAt != nil)
		want.sort()
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("step %d is %+v, want %+v", n, got, want)
		}
	}
}

// sort orders what a step lists by request index.
func (g *v1GoldenStep) sort() {
	byRequest := func(a, b [2]int64) int { return cmp.Compare(a[0], b[0]) }
	slices.SortFunc(g.Sched, byRequest)
	slices.SortFunc(g.Cached, byRequest)
	slices.Sort(g.Preempted)
	slices.Sort(g.Resumed)
	if len(g.Sched) == 0 {
		g.Sched = nil
	}
}

func briefStep(s StepTrace) [4]float64 {
	var tokens int64
	for _, q := range s.Requests {
		tokens += q.Tokens
	}
	return [4]float64{
		s.StartUS / microsPerSecond, float64(len(s.Requests)), float64(tokens), float64(len(s.Preempted)),
	}
}

// goldenStep writes a step as the vectors do.
func goldenStep(s StepTrace, async bool) v1GoldenStep {
	g := v1GoldenStep{T: s.StartUS / microsPerSecond, Preempted: s.Preempted}
	if async {
		at := s.ComposedUS / microsPerSecond
		g.ScheduledAt = &at
	}
	for _, q := range s.Requests {
		i := int64(q.Request)
		g.Sched = append(g.Sched, [2]int64{i, q.Tokens})
		if q.CachedTokens > 0 {
			g.Cached = append(g.Cached, [2]int64{i, q.CachedTokens})
		}
		if q.Resumed {
			g.Resumed = append(g.Resumed, q.Request)
		}
	}
	g.sort()
	return g
}

func checkSeconds(t *testing.T, what string, want []*float64, got []float64) {
	t.Helper()
	for i, w := range want {
		if w == nil && !math.IsNaN(got[i]) || w != nil && *w != got[i] {
			t.Errorf("%s of request %d is %v s, want %v", what, i, got[i], deref(w))
			return
		}
	}
}

func checkEqual(t *testing.T, what string, want, got any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
