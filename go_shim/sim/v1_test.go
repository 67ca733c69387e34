package sim

import (
	"errors"
	"math"
	"slices"
	"testing"
)

// v1TestConfig is vLLM's default configuration with small blocks.
func v1TestConfig() Config {
	return Config{
		Semantics: VLLMV1, MaxNumSeqs: 256, MaxNumBatchedTokens: 2048, BlockSize: 4,
		EnablePrefixCaching: true, EnableChunkedPrefill: true, ReserveFullISL: true,
		HorizonS: math.Inf(1),
	}
}

// lengths is a workload of unique tokens.
func lengths(arrivalS []float64, input, output []int64) *Workload {
	return &Workload{ArrivalS: arrivalS, InputTokens: input, OutputTokens: output}
}

// secondSteps is a candidate with steps of one second.
func secondSteps() *Params {
	p := &Params{}
	p.Coeffs[intercept] = 1
	return p
}

func runV1(t *testing.T, w *Workload, c Config, p *Params) *Result {
	t.Helper()
	s, err := New(w, c)
	if err != nil {
		t.Fatal(err)
	}
	r := newResult(s.NumRequests())
	if err := s.Run(p, Reference, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestV1ClosedLoop follows two requests through one seat; the times are worked out by hand. The
// steps of request 0 are [0, 1] and, after a gap of 0.25 s, [1.25, 2.25]; tokens arrive 0.5 s after
// a step, so request 1 is sent at 2.75 s.
func TestV1ClosedLoop(t *testing.T) {
	w := lengths([]float64{0, 0}, []int64{1, 1}, []int64{2, 2})
	w.MaxConcurrency = 1
	p := secondSteps()
	p.Overheads[queueOverhead], p.Overheads[vllmOverhead] = 0.25e6, 0.5e6
	r := runV1(t, w, v1TestConfig(), p)
	checkEqual(t, "sent", []float64{0, 2.75}, r.SentS)
	checkEqual(t, "TTFT", []float64{1.5, 1.5}, r.TTFT)
	checkEqual(t, "E2E", []float64{2.75, 2.75}, r.E2E)
}

// TestV1ArrivalsAndLimit: a request waits for both its arrival and a seat; requests of one arrival
// time keep their order, whatever their order in the workload.
func TestV1ArrivalsAndLimit(t *testing.T) {
	w := lengths([]float64{10, 0, 0, 0}, []int64{1, 1, 1, 1}, []int64{1, 3, 1, 1})
	w.MaxConcurrency = 2
	r := runV1(t, w, v1TestConfig(), secondSteps())
	checkEqual(t, "sent", []float64{10, 0, 0, 1}, r.SentS)
	checkEqual(t, "E2E", []float64{1, 3, 1, 1}, r.E2E)
}

// TestV1StuckSeat: a request that never finishes keeps its seat, so the next one is never sent.
func TestV1StuckSeat(t *testing.T) {
	w := lengths([]float64{0, 0}, []int64{40, 1}, []int64{1, 1})
	w.MaxConcurrency = 1
	c := v1TestConfig()
	c.NumGPUBlocks = 5 // 4 usable: 16 tokens
	r := runV1(t, w, c, secondSteps())
	checkEqual(t, "outcome", Unfinished, r.Outcome)
	checkEqual(t, "status", []int32{int32(Waiting), int32(NotArrived)}, r.Status)
	if !math.IsNaN(r.SentS[1]) || !math.IsNaN(r.E2E[0]) {
		t.Errorf("sent at %v, E2E %v, want NaN", r.SentS, r.E2E)
	}
}

// TestV1NoOutput: vLLM's max_tokens is at least 1.
func TestV1NoOutput(t *testing.T) {
	r := runV1(t, lengths([]float64{0}, []int64{5}, []int64{0}), v1TestConfig(), secondSteps())
	checkEqual(t, "E2E", []float64{1}, r.E2E)
	checkEqual(t, "tokens generated", []int32{1}, r.Generated)
}

// TestV1Features: the chunks of a prompt, and what a preempted request computes again, count as
// prefill; each later token as decode. 6 usable blocks of 4 tokens: two requests of 8 + 8 tokens
// fill them when each has 12, and the second has to go.
func TestV1Features(t *testing.T) {
	c := v1TestConfig()
	c.NumGPUBlocks, c.MaxNumBatchedTokens, c.EnablePrefixCaching = 7, 10, false
	s, err := New(lengths([]float64{0, 0}, []int64{8, 8}, []int64{8, 8}), c)
	if err != nil {
		t.Fatal(err)
	}
	r := newResult(2)
	var got [][4]int64
	r.OnStep = func(s StepTrace) {
		got = append(got, [4]int64{s.Decodes, s.PrefillTokens, s.MaxPrefill, s.Prefills})
	}
	if err := s.Run(secondSteps(), Auto, r); err != nil {
		t.Fatal(err)
	}
	want := [][4]int64{
		{0, 10, 8, 2}, // 8 of request 0, 2 of request 1
		{1, 6, 6, 1},
		{2, 0, 0, 0}, {2, 0, 0, 0}, {2, 0, 0, 0}, // both compute token 9, 10, 11 or 10, 11, 12
		{1, 0, 0, 0}, // request 0 takes its fourth block: request 1 is preempted, 11 tokens known
		{1, 0, 0, 0}, {1, 0, 0, 0},
		{0, 10, 10, 1}, {0, 2, 2, 1}, // again from the start, in two chunks
		{1, 0, 0, 0}, {1, 0, 0, 0}, {1, 0, 0, 0},
	}
	checkEqual(t, "D, P, M, N", want, got)
	checkEqual(t, "preemptions", []int32{0, 1}, r.Preemptions)
}

// TestV1Watermark: 4 of 8 blocks are to stay free at an admission, but not while nobody runs. So
// request 0 gets its 6 blocks, and request 1, which needs one of the 2 left, waits for its end.
func TestV1Watermark(t *testing.T) {
	c := v1TestConfig()
	c.NumGPUBlocks = 9
	w := lengths([]float64{0, 0}, []int64{22, 4}, []int64{2, 1})
	checkEqual(t, "E2E without", []float64{2, 1}, runV1(t, w, c, secondSteps()).E2E)
	c.Watermark = 0.5
	checkEqual(t, "E2E with a watermark", []float64{2, 3}, runV1(t, w, c, secondSteps()).E2E)
}

// TestV1Outcomes: how a run can end early, and what it leaves.
func TestV1Outcomes(t *testing.T) {
	two := func() *Workload { return lengths([]float64{0, 2.5}, []int64{4, 4}, []int64{2, 2}) }
	horizon := v1TestConfig()
	horizon.HorizonS = 2.75
	for name, test := range map[string]struct {
		config    Config
		intercept float64
		outcome   Outcome
		status    []Status
	}{
		// request 1 would need a step at 3.5 s
		"horizon in the middle": {horizon, 1, Horizon, []Status{Finished, Running}},
		"negative step":         {v1TestConfig(), -1, NegativeStep, []Status{Running, NotArrived}},
		"endless step":          {v1TestConfig(), 1e300, NonFinite, []Status{Running, NotArrived}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Params{}
			p.Coeffs[intercept] = test.intercept
			r := runV1(t, two(), test.config, p)
			checkEqual(t, "outcome", test.outcome, r.Outcome)
			for i, want := range test.status {
				checkEqual(t, "status", want, Status(r.Status[i]))
				if (want == Finished) == math.IsNaN(r.E2E[i]) {
					t.Errorf("request %d has status %v and E2E %v", i, want, r.E2E[i])
				}
			}
		})
	}
}

// TestV1HorizonBeforeArrival: an idle engine does not wait for an arrival beyond the horizon.
func TestV1HorizonBeforeArrival(t *testing.T) {
	c := v1TestConfig()
	c.HorizonS = 5
	r := runV1(t, lengths([]float64{0, 9}, []int64{1, 1}, []int64{1, 1}), c, secondSteps())
	checkEqual(t, "outcome", Horizon, r.Outcome)
	checkEqual(t, "status", []int32{int32(Finished), int32(NotArrived)}, r.Status)
}

// TestV1Hang: a prompt larger than the pool, let in a chunk at a time, preempts itself for ever
// where the next batch is composed before the engine is idle.
func TestV1Hang(t *testing.T) {
	c := v1TestConfig()
	c.NumGPUBlocks, c.MaxNumBatchedTokens = 5, 8
	c.ReserveFullISL, c.EnablePrefixCaching = false, false
	w := lengths([]float64{0}, []int64{40}, []int64{1})
	checkEqual(t, "synchronous", Unfinished, runV1(t, w, c, secondSteps()).Outcome)
	c.AsyncScheduling = true
	checkEqual(t, "asynchronous", Hang, runV1(t, w, c, secondSteps()).Outcome)
}

// TestV1Refuses: what vLLM refuses too, or what makes no sense.
func TestV1Refuses(t *testing.T) {
	ok := lengths([]float64{0}, []int64{5}, []int64{1})
	short, watermark, blis := v1TestConfig(), v1TestConfig(), v1TestConfig()
	short.MaxModelLen, watermark.Watermark, blis.Semantics = 4, 1, BLIS202507
	negative, limited := *ok, *ok
	negative.MaxConcurrency, limited.MaxConcurrency = -1, 1
	for name, test := range map[string]struct {
		workload *Workload
		config   Config
		want     error
	}{
		"empty prompt":           {lengths([]float64{0}, []int64{0}, []int64{1}), v1TestConfig(), ErrWorkload},
		"prompt too long":        {ok, short, ErrWorkload},
		"watermark of 1":         {ok, watermark, ErrConfig},
		"negative concurrency":   {&negative, v1TestConfig(), ErrWorkload},
		"closed loop under blis": {&limited, blis, ErrWorkload},
	} {
		if s, err := New(test.workload, test.config); s != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: error %v, want %v", name, err, test.want)
		}
	}
}

// TestV1Queue: preempted requests return to the front; one may leave from the middle.
func TestV1Queue(t *testing.T) {
	var q v1Queue
	for i := range 4 {
		q.pushBack(i)
	}
	q.popFront()
	q.popFront()
	q.pushFront(1)
	q.pushFront(0)
	q.remove(1)
	if got := q.items[q.head:]; !slices.Equal(got, []int{0, 2, 3}) {
		t.Errorf("queue is %v", got)
	}
}

// TestV1LeapReusesMemory: once a simulator has run, a run allocates nothing, with derivatives or not,
// with hits of the prefix cache or not.
func TestV1LeapReusesMemory(t *testing.T) {
	t.Run("plain", func(t *testing.T) { leapReusesMemory(t, func(*Workload) {}) })
	t.Run("shared prefixes", func(t *testing.T) { leapReusesMemory(t, sharePrefixes) })
}

func leapReusesMemory(t *testing.T, change func(*Workload)) {
	t.Helper()
	w, c := experimentLike(100)
	change(w)
	c.Semantics, c.EnableChunkedPrefill, c.ReserveFullISL = VLLMV1, true, true
	s, err := New(w, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, derivatives := range []bool{false, true} {
		sc, r := newV1LeapScratch(s.v1), newResult(s.NumRequests())
		r.Terms.Count = NumQuadratic
		if !derivatives {
			r.JacTTFT, r.JacE2E = nil, nil
		}
		exact := true
		run := func() { exact = exact && s.v1.runLeap(&exp1Baseline, sc, r) }
		if got := testing.AllocsPerRun(5, run); got != 0 {
			t.Errorf("derivatives %v: %v allocations a run", derivatives, got)
		}
		if !exact {
			t.Error("the plain leap engine gave up")
		}
	}
}
