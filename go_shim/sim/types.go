package sim

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

func (r *Ragged) clone() *Ragged {
	if r == nil {
		return nil
	}
	return &Ragged{append([]int64(nil), r.Offsets...), append([]int32(nil), r.IDs...)}
}

// Workload is the requests, in the order in which results are reported.
type Workload struct {
	// ArrivalS is when each request is sent, in seconds.
	ArrivalS []float64
	// InputTokens is the length of each prompt.
	InputTokens []int64
	// OutputTokens is how many tokens each request is given.
	OutputTokens []int64
	// PromptIDs is the token ids of the prompts; nil: all ids differ, so no prefix is ever shared.
	PromptIDs *Ragged
	// OutputIDs is the token ids of the outputs; nil: all ids differ.
	OutputIDs *Ragged
	// MaxConcurrency is how many requests the client keeps in flight at most; 0: no limit. Latencies
	// count from the sending of a request.
	MaxConcurrency int64
}

// Config holds the server settings that the semantics acts on, in vLLM's names. Fields from
// MaxModelLen on are for vllm-v1 only.
type Config struct {
	Semantics Semantics
	// MaxNumSeqs is how many requests run at a time.
	MaxNumSeqs int64
	// MaxNumBatchedTokens is the budget of a step, in tokens.
	MaxNumBatchedTokens int64
	// BlockSize is the size of a KV block, in tokens.
	BlockSize int64
	// NumGPUBlocks is the size of the pool; 0: unlimited. Under vllm-v1 the null block is one of them.
	NumGPUBlocks        int64
	EnablePrefixCaching bool
	// HorizonS is the time after which no step starts, in seconds; +Inf: none.
	HorizonS float64

	// MaxModelLen bounds prompt and output together, in tokens; 0: no limit.
	MaxModelLen          int64
	EnableChunkedPrefill bool
	// LongPrefillTokenThreshold bounds a chunk of a prefill, in tokens; 0: off.
	LongPrefillTokenThreshold int64
	// ReserveFullISL is scheduler_reserve_full_isl: an admission needs blocks for the whole prompt.
	ReserveFullISL bool
	// Watermark is the share of the blocks that an admission leaves free, 0 <= w < 1.
	Watermark float64
	// AsyncScheduling composes one batch ahead of the one that executes.
	AsyncScheduling bool
}

// Params is one candidate.
type Params struct {
	// Coeffs are in seconds a unit of the term's feature; 0: the term is absent.
	Coeffs [NumTerms]float64
	// Overheads are in µs.
	Overheads [NumOverheads]float64
}
