package sim

import "math"

// blis is what the semantics blis-2025-07 needs of a workload and a configuration, shared by its
// two engines and never written after newBLIS.
type blis struct {
	numRequests int
	arrival     []int64 // ticks
	input       []int64
	output      []int64
	longest     tokenCounts // of any request
	maxSeqs     int64
	budget      int64 // tokens a step
	blockSize   int64
	poolBlocks  int64
	horizon     int64 // ticks

	// generated is how many requests get an arrival event: none follows one beyond the horizon.
	generated int

	// prefixes is nil where no prompt can ever hit the cache.
	prefixes  *prefixTable
	promptIDs *Ragged
	outputIDs *Ragged

	// leapable: nothing known beforehand keeps the leap engine from being exact.
	leapable bool
}

func newBLIS(w *Workload, c Config) *blis {
	n := len(w.ArrivalS)
	b := &blis{
		numRequests: n,
		input:       append([]int64(nil), w.InputTokens...),
		output:      append([]int64(nil), w.OutputTokens...),
		maxSeqs:     c.MaxNumSeqs,
		budget:      c.MaxNumBatchedTokens,
		blockSize:   c.BlockSize,
		poolBlocks:  c.NumGPUBlocks,
		horizon:     horizonTicks(c.HorizonS),
	}
	for i := range b.input {
		b.longest.include(b.input[i], max(b.output[i], 1))
	}
	if b.poolBlocks == 0 {
		b.poolBlocks = b.blocksEver()
	}
	if c.EnablePrefixCaching && w.PromptIDs != nil {
		b.promptIDs, b.outputIDs = w.PromptIDs.clone(), w.OutputIDs.clone()
		b.prefixes = newPrefixTable(b.promptIDs, b.outputIDs, c.BlockSize)
	}
	b.plan(w.ArrivalS)
	return b
}

// plan notes when the requests arrive, in seconds, and what depends on it.
func (b *blis) plan(arrivalS []float64) {
	b.arrival = make([]int64, len(arrivalS))
	for i, a := range arrivalS {
		b.arrival[i] = int64(math.Round(a * microsPerSecond))
	}
	b.generated = b.countGenerated()
	b.leapable = b.provablyLeapable()
}

// at is the same with the requests arriving at other times.
func (b *blis) at(arrivalS []float64) *blis {
	other := *b
	other.plan(arrivalS)
	return &other
}

func horizonTicks(s float64) int64 {
	t := s * microsPerSecond
	if t >= float64(maxClock) {
		return maxClock
	}
	return int64(math.Round(t))
}

// blocksEver is how many blocks could be taken if none were ever used twice: a pool of that size
// acts like an unlimited one.
func (b *blis) blocksEver() int64 {
	var sum int64
	for i := range b.input {
		sum += b.blocksHeld(i)
	}
	return sum
}

// blocksHeld is the most that request i ever holds: its prompt, and a slot for every output.
func (b *blis) blocksHeld(i int) int64 {
	return (b.input[i] + b.output[i] + b.blockSize - 1) / b.blockSize
}

// countGenerated mirrors the original's arrival generator: it stops before a request when the
// previous arrival is at or beyond the horizon, and after one that is beyond it.
func (b *blis) countGenerated() int {
	for i, a := range b.arrival {
		if i > 0 && b.arrival[i-1] >= b.horizon {
			return i
		}
		if a > b.horizon {
			return i + 1
		}
	}
	return b.numRequests
}

// overheads are a candidate's, truncated to ticks as the original does.
type overheads struct {
	token  int64 // vllm + schedule + update: from the end of a step to the token's delivery
	period int64 // queue + schedule + update: from the end of a step to the next one
}

// truncateOverheads is not ok where an overhead, or what the request-side terms add up to, is as
// unbelievable as a step of maxStepTicks.
func (b *blis) truncateOverheads(p *Params) (over overheads, ok bool) {
	o := &p.Overheads
	for _, v := range o {
		if !(v > -maxStepTicks && v < maxStepTicks) {
			return overheads{}, false
		}
	}
	if late := newDelays(&p.Coeffs); !(late.most(b.longest) < maxStepTicks) {
		return overheads{}, false
	}
	s, u := int64(o[scheduleTime]), int64(o[updateTime])
	return overheads{token: int64(o[vllmOverhead]) + s + u, period: int64(o[queueOverhead]) + s + u}, true
}

// stepTicks truncates a step time in µs toward zero; ok is false where it is no number of ticks.
func stepTicks(micros float64) (ticks int64, ok bool) {
	if !(micros > -maxStepTicks && micros < maxStepTicks) {
		return 0, false
	}
	return int64(micros), true
}

// arriveBLIS is arrive for a server whose next step begins at the given tick, a period after the last.
func (g *gradient) arriveBLIS(i int, a, next, period int64) {
	if g == nil || g.renewal == nil {
		return
	}
	late := 0.0
	if next > a && period > 0 {
		late = min(float64(next-a)/float64(period), 1)
	}
	g.arrive(i, float64(next), late, 0)
}
