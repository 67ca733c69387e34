package sim

import "math"

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

// Result receives one run. Every slice has one element a request, but for the derivatives. All
// but TTFT and E2E may be nil.
type Result struct {
	// TTFT is the time to the first token, in seconds; NaN: it never came.
	TTFT []float64
	// E2E is the time to the last token, in seconds; NaN: it never came.
	E2E []float64

	// Status is where each request was when the run ended: a Status.
	Status []int32
	// Cached is how many prompt tokens the first admission found in the prefix cache.
	Cached []int32
	// Preemptions is how often each request was preempted.
	Preemptions []int32
	// FirstStep is the number of the step that gave a request its first token; -1: none. With LastStep
	// and BusyPeriod it tells the order of events, so that two runs can be compared.
	FirstStep []int32
	// LastStep is the number of the step that gave a request its last token; -1: none.
	LastStep []int32
	// BusyPeriod is how often the server had begun to be busy when a request was sent.
	BusyPeriod []int32
	// Generated is how many output tokens were delivered.
	Generated []int32
	// SentS is when the client sent each request, in seconds; NaN: never.
	SentS []float64
	// ScheduledS is when the first step with each request began, in seconds; NaN: never.
	ScheduledS []float64

	// OnStep, where not nil, is told of every step. Only the reference engine does that.
	OnStep func(StepTrace)

	// JacTTFT receives ∂TTFT/∂θ [R, Terms.Count + NumOverheads] within the order of events of the run,
	// in seconds per unit of each parameter. It is NaN where the latency is.
	JacTTFT []float64
	// JacE2E receives ∂E2E/∂θ in the same way. Both are nil, or neither.
	JacE2E []float64
	// Terms are the terms that derivatives are wanted for.
	Terms Terms
	// Renewal counts derivatives from the moment at which each request was sent; see origins.
	Renewal bool

	// NoPeak asks not to follow the use of KV blocks where nothing else depends on it.
	NoPeak bool

	// Outcome says how the run ended.
	Outcome Outcome
	// Steps is how many steps were executed.
	Steps int64
	// PeakKVBlocks is the most KV blocks in use at a time; PeakUnknown where that was not followed.
	PeakKVBlocks int64
	// Engine is the engine that produced the numbers.
	Engine Engine
}

// PeakUnknown stands for a peak that nobody asked for.
const PeakUnknown = -1

// clear gives every request the result of one that never arrived.
func (r *Result) clear() {
	nan := math.NaN()
	for _, seconds := range [][]float64{r.TTFT, r.E2E, r.SentS, r.ScheduledS} {
		fill(seconds, nan)
	}
	for i := range r.Status {
		r.Status[i] = int32(NotArrived)
	}
	clear(r.Cached)
	clear(r.Preemptions)
	clear(r.BusyPeriod)
	clear(r.Generated)
	for i := range r.FirstStep {
		r.FirstStep[i], r.LastStep[i] = -1, -1
	}
	for i := range r.TTFT {
		r.clearDerivatives(i)
	}
	r.Outcome, r.Steps, r.PeakKVBlocks = OK, 0, 0
}

func fill(values []float64, with float64) {
	for i := range values {
		values[i] = with
	}
}

// clearDerivatives says of request i that it has none.
func (r *Result) clearDerivatives(i int) {
	if r.JacTTFT == nil {
		return
	}
	columns := r.Terms.Count + NumOverheads
	for j := i * columns; j < (i+1)*columns; j++ {
		r.JacTTFT[j], r.JacE2E[j] = math.NaN(), math.NaN()
	}
}

// setScheduled notes when the first step with request i began, in µs.
func (r *Result) setScheduled(i int, us float64) {
	if r.ScheduledS != nil {
		r.ScheduledS[i] = us / microsPerSecond
	}
}

func (r *Result) setFirstStep(i int, step int64) {
	if r.FirstStep != nil {
		r.FirstStep[i] = int32(step)
	}
}

func (r *Result) setLastStep(i int, step int64) {
	if r.LastStep != nil {
		r.LastStep[i] = int32(step)
	}
}

func (r *Result) setBusyPeriod(i int, period int32) {
	if r.BusyPeriod != nil {
		r.BusyPeriod[i] = period
	}
}

func (r *Result) setStatus(i int, s Status) {
	if r.Status != nil {
		r.Status[i] = int32(s)
	}
}
