package sim

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// v1 is what the semantics vllm-v1 and vllm-v1-0.9.1 need of a workload and a configuration,
// shared by their engines and never written after newV1. Times are float64 µs, never truncated.
type v1 struct {
	numRequests int
	order       []int32     // requests by (arrival, index)
	arrival     []float64   // µs, as the client plans them
	planned     []v1Planned // the requests in order, then one that is never sent
	input       []int64
	output      []int64     // max_tokens, at least 1
	longest     tokenCounts // of any request
	concurrency int64       // requests that the client keeps in flight at most; 0: no limit

	maxSeqs     int64
	budget      int64 // tokens a step
	blockSize   int64
	usable      int64 // KV blocks, the null block not counted
	maxLen      int64 // tokens of a request; noLimit: none
	maxComputed int64 // a running request is not computed beyond this position
	threshold   int64 // long_prefill_token_threshold; 0: off
	watermark   int64 // blocks kept free at admission
	horizon     float64
	rules       v1Rules

	caching bool
	chains  *chainTable

	// leapable: nothing known beforehand keeps the plain leap engine from being exact.
	leapable bool
	shares   bool  // it is, with hits of the prefix cache
	together int64 // the most KV blocks that requests can hold which run together
	lasting  int64 // blocks that others may take before a prefix may be evicted; see prefixHits

	// patience is more steps than any prefill needs: so many without a token never end.
	patience int64
}

// v1Planned is a request, all of it in one place of the memory.
type v1Planned struct {
	request       int
	input, output int64
	arrival       float64 // µs
}

// v1Rules are the choices that differ between releases and flags.
type v1Rules struct {
	chunked       bool  // a prefill may be split over steps
	wholeSequence bool  // admission reserves blocks for the whole prompt
	thresholdFrom int64 // requests at the server from which on the threshold applies
	freeToTail    bool  // all freed blocks go to the tail, not only the cached ones
	depth         int   // batches in flight: 2 with asynchronous scheduling
}

// noLimit stands for an absent limit; small enough to be added to.
const noLimit = math.MaxInt64 / 4

func newV1(w *Workload, c Config) (*v1, error) {
	v := &v1{
		numRequests: len(w.ArrivalS),
		input:       slices.Clone(w.InputTokens),
		output:      slices.Clone(w.OutputTokens),
		concurrency: w.MaxConcurrency,
		maxSeqs:     c.MaxNumSeqs,
		budget:      c.MaxNumBatchedTokens,
		blockSize:   c.BlockSize,
		maxLen:      noLimit,
		threshold:   c.LongPrefillTokenThreshold,
		// a product of two floats, truncated: as vLLM computes it
		watermark: int64(c.Watermark * float64(c.NumGPUBlocks)),
		horizon:   c.HorizonS * microsPerSecond,
		rules:     newV1Rules(c),
		caching:   c.EnablePrefixCaching,
	}
	if c.MaxModelLen > 0 {
		v.maxLen = c.MaxModelLen
	}
	v.maxComputed = v.maxLen - 1 // the token after that would exceed max_model_len
	if c.Semantics == VLLMV1_0_9_1 {
		v.watermark, v.maxComputed = 0, v.maxLen
	}
	for i := range v.output {
		v.output[i] = max(min(v.output[i], v.maxLen-v.input[i]), 1)
		v.longest.include(v.input[i], v.output[i])
		v.patience = max(v.patience, 2*(v.input[i]+v.output[i])+8)
	}
	v.plan(w.ArrivalS)
	v.prepareBlocks(w, c.NumGPUBlocks)
	if err := v.checkPrompts(); err != nil {
		return nil, err
	}
	v.leapable = v.provablyLeapable()
	return v, nil
}

// plan puts the requests in order, sent at the given times, in seconds.
func (v *v1) plan(arrivalS []float64) {
	v.arrival = make([]float64, len(arrivalS))
	for i, a := range arrivalS {
		v.arrival[i] = a * microsPerSecond
	}
	v.order = arrivalOrder(v.arrival)
	v.planned = make([]v1Planned, 0, len(v.order)+1)
	for _, i := range v.order {
		v.planned = append(v.planned, v1Planned{int(i), v.input[i], v.output[i], v.arrival[i]})
	}
	v.planned = append(v.planned, v1Planned{arrival: math.Inf(1)})
}

// at is the same with the requests sent at other times; nothing else depends on these.
func (v *v1) at(arrivalS []float64) *v1 {
	other := *v
	other.plan(arrivalS)
	return &other
}

// newV1Rules turns flags into rules. The release of mid-2025 knows neither asynchronous scheduling
// nor the whole-sequence test nor the watermark, and cannot turn chunked prefill off.
func newV1Rules(c Config) v1Rules {
	if c.Semantics == VLLMV1_0_9_1 {
		return v1Rules{chunked: true, thresholdFrom: 1, freeToTail: true, depth: 1}
	}
	r := v1Rules{
		chunked: c.EnableChunkedPrefill, wholeSequence: c.ReserveFullISL,
		thresholdFrom: 2, depth: 1,
	}
	if c.AsyncScheduling {
		r.depth = 2
	}
	return r
}

// prepareBlocks sizes the pool. An unlimited one has a block for everything that is ever computed:
// it then never evicts, and preempts nobody.
func (v *v1) prepareBlocks(w *Workload, numGPUBlocks int64) {
	v.usable = numGPUBlocks - 1
	if v.caching {
		v.chains = newChainTable(w, v.output, v.blockSize)
	}
	if numGPUBlocks > 0 {
		return
	}
	v.usable = 0
	for i := range v.input {
		v.usable += ceilDiv(v.input[i]+v.output[i], v.blockSize)
	}
	// Only a preempted request can hit blocks that nobody shares.
	v.caching = v.caching && v.chains.anyShared
}

func (v *v1) checkPrompts() error {
	for i, n := range v.input {
		if n == 0 {
			return fmt.Errorf("%w: request %d: the prompt is empty, vLLM needs at least 1 token", ErrWorkload, i)
		}
		if n > v.maxLen {
			return fmt.Errorf("%w: request %d: a prompt of %d tokens exceeds max_model_len = %d: vLLM refuses it, leave it out or raise the limit", ErrWorkload, i, n, v.maxLen)
		}
	}
	return nil
}

// arrivalOrder sorts the requests by (arrival, index).
func arrivalOrder(arrival []float64) []int32 {
	order := make([]int32, len(arrival))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(arrival[a], arrival[b]) })
	return order
}
