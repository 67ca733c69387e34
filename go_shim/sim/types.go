package sim

// Semantics selects the scheduler that a simulation follows.
type Semantics int

// BLIS202507 is the simulator of the original experiment, tick for tick.
const BLIS202507 Semantics = iota

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
	// NegativeStep: some step had a negative length; the numbers are what the rules give.
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
	// Waiting: arrived, never admitted.
	Waiting
	// NotArrived: the run ended before its arrival.
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
}

// Config holds the server settings that the semantics acts on, in vLLM's names.
type Config struct {
	Semantics           Semantics
	MaxNumSeqs          int64
	MaxNumBatchedTokens int64
	BlockSize           int64
	NumGPUBlocks        int64 // 0: unlimited
	EnablePrefixCaching bool
	HorizonS            float64 // +Inf: none
}

// Params is one candidate: coefficients in seconds a feature, overheads in microseconds.
type Params struct {
	Coeffs    [NumCoeffs]float64
	Overheads [NumOverheads]float64
}

// Result receives one run. Latency slices have one element a request; the detail slices may be nil.
type Result struct {
	TTFT, E2E []float64 // seconds; NaN: never

	Status      []int32
	Cached      []int32 // prompt tokens found in the prefix cache
	Preemptions []int32

	Outcome      Outcome
	Steps        int64
	PeakKVBlocks int64
	Engine       Engine // the one that produced the numbers
}
