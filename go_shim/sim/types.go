package sim

import (
	"fmt"
	"slices"
)

// Semantics selects the scheduler that a simulation follows.
type Semantics int

const (
	// BLIS202507 is the simulator of the original experiment, tick for tick.
	BLIS202507 Semantics = iota
	// VLLMV1 is vLLM's V1 scheduler as of 2026 (0.32).
	VLLMV1
	// VLLMV1_0_9_1 is vLLM's V1 scheduler as of mid-2025 (0.9.1). It has no asynchronous scheduling,
	// whole-sequence test or watermark, and always chunks prefills, whatever the Config says.
	VLLMV1_0_9_1
)

// Engine selects how a simulation is carried out; both engines give the same numbers.
type Engine int32

const (
	// Auto takes the leap engine wherever it can prove itself exact.
	Auto Engine = iota
	// Reference walks every step: slow, obvious, the oracle of the tests.
	Reference
	// Leap skips over runs of equal steps.
	Leap
)

// Outcome says how a whole run ended. Where several apply, the largest is reported.
type Outcome int64

const (
	// OK: every request finished.
	OK Outcome = iota
	// Unfinished: the events ran out, yet some requests are stuck in the queue or were dropped.
	Unfinished
	// Horizon: the clock passed the horizon first.
	Horizon
	// NegativeStep: some step had a negative length. Under blis-2025-07 the numbers are what the
	// rules give; under vllm-v1 the run stops there.
	NegativeStep
	// Hang: no request can make progress ever again, yet steps would go on.
	Hang
	// NonFinite: a step was not a finite length, or too long to count (see maxStepTicks).
	NonFinite
)

// Status says where a request was when its run ended.
type Status int32

const (
	// Finished: TTFT and E2E are known.
	Finished Status = iota
	// Running: admitted, not finished.
	Running
	// Waiting: in the queue, never admitted or preempted.
	Waiting
	// NotArrived: the run ended before it was sent.
	NotArrived
	// Dropped: its last token found no KV block; it left without an E2E.
	Dropped
)

// Ragged is a list of token id lists: list i is IDs[Offsets[i]:Offsets[i+1]].
type Ragged struct {
	Offsets []int64
	IDs     []int32
}

// Row returns list i, capped so that appending to it copies.
func (r *Ragged) Row(i int) []int32 {
	lo, hi := r.Offsets[i], r.Offsets[i+1]
	return r.IDs[lo:hi:hi]
}

// Workload is the requests in the order in which results are reported.
type Workload struct {
	ArrivalS     []float64 // seconds
	InputTokens  []int64
	OutputTokens []int64
	PromptIDs    *Ragged // nil: all ids differ, so no prefix is ever shared
	OutputIDs    *Ragged // nil: all ids differ

	// MaxConcurrency is how many requests the client keeps in flight at most; 0: no limit. Latencies
	// count from the sending of a request.
	MaxConcurrency int64
}

// Config holds the server settings that the semantics acts on, in vLLM's names.
type Config struct {
	Semantics           Semantics
	MaxNumSeqs          int64
	MaxNumBatchedTokens int64
	BlockSize           int64
	NumGPUBlocks        int64 // 0: unlimited; under vllm-v1 the null block is one of them
	EnablePrefixCaching bool
	HorizonS            float64 // no step starts later; +Inf: none

	// The rest is for vllm-v1 only.
	MaxModelLen               int64 // 0: no limit
	EnableChunkedPrefill      bool
	LongPrefillTokenThreshold int64   // 0: off
	ReserveFullISL            bool    // scheduler_reserve_full_isl
	Watermark                 float64 // share of the blocks, 0 <= w < 1
	AsyncScheduling           bool
}

// Params is one candidate: coefficients in seconds a feature, overheads in microseconds.
type Params struct {
	Coeffs    [NumTerms]float64 // 0: the term is absent
	Overheads [NumOverheads]float64
}

// Terms lists what a model consists of. NewTerms makes one of what has not been checked.
type Terms struct {
	Count int
	Index []int32 // the number of each term; nil: the first Count in order
}

// NewTerms takes the numbers of a model's terms, each of which may occur once, or nil for the first
// count. It keeps no reference to them.
func NewTerms(count int, index []int32) (Terms, error) {
	if count < 0 || count > NumTerms {
		return Terms{}, fmt.Errorf("%w: %d terms, there are %d", ErrParams, count, NumTerms)
	}
	var seen [NumTerms]bool
	for j, term := range index {
		if term < 0 || term >= NumTerms || seen[term] {
			return Terms{}, fmt.Errorf("%w: term %d of the model is number %d, expected 0 to %d, each once",
				ErrParams, j, term, NumTerms-1)
		}
		seen[term] = true
	}
	return Terms{count, slices.Clone(index)}, nil
}

// scatter makes a candidate of the coefficients of these terms.
func (t *Terms) scatter(p *Params, coeffs, overheads []float64) {
	copy(p.Overheads[:], overheads)
	if t.Index == nil {
		copy(p.Coeffs[:], coeffs)
		return
	}
	for j, term := range t.Index {
		p.Coeffs[term] = coeffs[j]
	}
}

// term is the number of the j-th.
func (t *Terms) term(j int) int {
	if t.Index == nil {
		return j
	}
	return int(t.Index[j])
}

// Result receives one run. Latency slices have one element a request; the detail slices may be nil.
type Result struct {
	TTFT, E2E []float64 // seconds; NaN: never

	Status      []int32
	Cached      []int32 // prompt tokens found in the prefix cache
	Preemptions []int32

	// The order of events, for telling whether two runs had the same: the numbers of the steps that
	// gave a request its first and last token (-1: none), and how often the server had begun to be
	// busy when it was sent.
	FirstStep, LastStep, BusyPeriod []int32

	Generated  []int32   // output tokens delivered
	SentS      []float64 // when the client sent the request, in seconds; NaN: never
	ScheduledS []float64 // when the first step with the request began, in seconds; NaN: never

	// OnStep, where not nil, is told of every step. Only the reference engine does that.
	OnStep func(StepTrace)

	// JacTTFT and JacE2E, where not nil, receive ∂TTFT/∂θ and ∂E2E/∂θ [R, Terms.Count + NumOverheads]
	// within the order of events of the run: seconds per unit of each parameter. NaN where the latency
	// is. Renewal counts them from the moment at which each request was sent (see origins).
	JacTTFT, JacE2E []float64
	Terms           Terms
	Renewal         bool

	// NoPeak asks not to follow the use of KV blocks where nothing else depends on it.
	NoPeak bool

	Outcome      Outcome
	Steps        int64
	PeakKVBlocks int64  // PeakUnknown where it was not followed
	Engine       Engine // the one that produced the numbers
}

// PeakUnknown stands for a peak that nobody asked for.
const PeakUnknown = -1

// StepTrace is what a step did. A batch that preempted requests and scheduled none is reported too,
// without requests and duration; it is not counted as a step.
type StepTrace struct {
	StartUS    float64
	ComposedUS float64 // when the batch was scheduled: before StartUS if that is asynchronous
	DurationUS float64

	Requests  []StepRequest // in the scheduler's order
	Preempted []int

	// The quantities of the step-time model.
	Decodes, PrefillTokens, MaxPrefill, Prefills, Context, Attention int64

	// Right after scheduling.
	Running, Waiting int
	KVUsed           int64 // blocks
}

// StepRequest is a request's share of a step.
type StepRequest struct {
	Request      int
	Tokens       int64
	CachedTokens int64 // found in the prefix cache, where the step admitted the request
	Resumed      bool  // admitted again after a preemption
}
