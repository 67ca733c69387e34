package sim

import "math"

// provablyLeapable tells what is known before the first candidate: whether nothing but the length
// of a step and the order of arrivals decides what happens next. That holds when
//   - requests arrive in order, no two in the same tick (of two that find the server idle, each would
//     start a chain of steps of its own);
//   - every prompt has a token (an empty one may never progress);
//   - every running request can decode in every step: the budget covers max_num_seqs;
//   - no prompt can hit the prefix cache;
//   - whatever is running, the pool has blocks for all of it, so that no allocation fails;
//   - blocks are of a usual size (kvDemand keeps a counter for each position in one).
//
// What is known only during a run (the horizon, a step that is no number) makes runLeap give up.
func (b *blis) provablyLeapable() bool {
	for i := range b.arrival {
		if b.input[i] == 0 || i > 0 && b.arrival[i] <= b.arrival[i-1] {
			return false
		}
	}
	seats := min(b.maxSeqs, int64(b.numRequests))
	held := make([]int64, b.numRequests)
	for i := range held {
		held[i] = b.blocksHeld(i)
	}
	return b.generated == b.numRequests && seats <= b.budget && b.prefixes == nil &&
		b.blockSize <= maxLeapBlock && sumLargest(held, int(seats)) <= b.poolBlocks
}

// leapScratch is what a run needs beside its result; it is reused, so that a run allocates nothing.
type leapScratch struct {
	finishing finishWheel
	ties      tieHeap
	phases    []int64 // see kvDemand
	grad      gradient
}

func newLeapScratch(b *blis) *leapScratch {
	seats := min(b.maxSeqs, int64(b.numRequests))
	return &leapScratch{
		finishing: newFinishWheel(int(seats), b.longest.output),
		ties:      newTieHeap(b),
		phases:    make([]int64, b.blockSize),
	}
}

// blisLeap is the state of one run between two events.
type blisLeap struct {
	*blis
	r         *Result
	model     model
	delays    delays
	over      overheads
	finishing *finishWheel
	ties      *tieHeap
	grad      *gradient // nil: no derivatives wanted
	kv        kvDemand

	now     int64 // tick of the next step, while requests are running
	period  int64 // from the last step to that one
	steps   int64 // steps executed; the number of the next one
	busy    int32 // how often the server woke up
	arrived int   // requests [head, arrived) are the queue
	head    int
	running int64

	decodeFor   int64 // the batch size that decodeTicks belongs to
	decodeTicks int64
}

// runLeap simulates one candidate from event to event: an arrival that may be admitted, a
// completion. In between, all steps have the same length. It returns false, with r unfinished,
// where it cannot prove that it gives what the reference engine would.
func (b *blis) runLeap(p *Params, sc *leapScratch, r *Result) bool {
	over, ok := b.truncateOverheads(p)
	if !ok || p.Coeffs[termContext] != 0 {
		return false // growing steps are truncated one by one: their sum has no closed form
	}
	run := blisLeap{
		blis: b, r: r, model: newModel(&p.Coeffs), delays: newDelays(&p.Coeffs), over: over,
		finishing: &sc.finishing, ties: &sc.ties, decodeFor: -1,
	}
	sc.finishing.reset()
	sc.ties.reset()
	run.kv.reset(newDivider(b.blockSize), sc.phases, !r.NoPeak)
	run.grad = newGradient(r, &sc.grad)
	r.Outcome, r.PeakKVBlocks = OK, 0
	for run.arrived < b.numRequests {
		// Idle: the next arrival starts a step at once, whatever was left waiting.
		run.now = b.arrival[run.arrived]
		if run.grad != nil {
			run.grad.jump(nil)
		}
		run.busy++
		run.arrive()
		if !run.busyPeriod() {
			return false
		}
	}
	r.Steps, r.PeakKVBlocks, r.Engine = run.steps, run.kv.peak, Leap
	run.finish()
	return true
}

// busyPeriod runs until the server is idle again.
func (run *blisLeap) busyPeriod() bool {
	for {
		if !run.prefillStep() {
			return false
		}
		for run.running > 0 {
			run.deliver()
			if run.admissible() {
				break
			}
			if !run.leap() {
				return false
			}
		}
		if run.running == 0 {
			return true
		}
	}
}

// arrive puts the next arrival into the queue.
func (run *blisLeap) arrive() {
	run.r.setBusyPeriod(run.arrived, run.busy)
	if run.grad != nil {
		run.grad.arriveBLIS(run.arrived, run.arrival[run.arrived], run.now, run.period)
	}
	run.arrived++
}

// deliver puts the arrivals that precede the next step into the queue.
func (run *blisLeap) deliver() {
	if run.arrived == run.numRequests || run.arrival[run.arrived] > run.now {
		return
	}
	run.ties.wait(run.now, run.arrived)
	for run.arrived < run.numRequests && run.arrival[run.arrived] < run.now {
		run.arrive()
	}
	if run.arrived < run.numRequests && run.arrival[run.arrived] == run.now && run.ties.arrivalFirst() {
		run.arrive()
	}
}

func (run *blisLeap) admissible() bool {
	return run.head < run.arrived && run.running < run.maxSeqs && run.running < run.budget
}

// prefillStep executes one step that admits what the budget and the seats allow.
func (run *blisLeap) prefillStep() bool {
	b := shape{decodes: run.running}
	context, pairs := run.kv.context(run.steps, run.running), int64(0)
	first := run.head
	budget := run.budget - run.running
	for ; budget > 0 && run.head < run.arrived && run.running < run.maxSeqs; run.head++ {
		n := run.input[run.head]
		budget -= n
		b = b.with(n)
		pairs += attention(n, 0)
		run.running++
	}
	ticks, ok := run.ticks(run.model.base(b, pairs))
	if !ok || run.now > run.horizon || run.now < -maxClock {
		return false
	}
	tokenTick := run.now + ticks + run.over.token
	run.grad.composed(float64(run.now), run.head < run.arrived)
	if run.grad != nil {
		run.grad.elapse(&batch{b, context, pairs}, 1)
	}
	leaving := int64(0) // blocks of those whose first token is their last
	for i := first; i < run.head; i++ {
		ttft := run.latency(i, 1, tokenTick)
		run.r.TTFT[i] = ttft
		run.r.setScheduled(i, float64(run.now))
		run.r.setFirstStep(i, run.steps)
		if run.grad != nil {
			run.differentiate(run.r.JacTTFT, i, 1)
		}
		if run.output[i] <= 1 {
			run.r.E2E[i] = ttft
			run.r.setLastStep(i, run.steps)
			if run.grad != nil {
				run.differentiate(run.r.JacE2E, i, 1)
			}
			run.running--
			leaving += run.kv.held(run.input[i])
			continue
		}
		run.finishing.insert(finish{run.steps + run.output[i] - 1, i})
		run.kv.join(run.input[i] - run.steps)
	}
	if leaving > 0 {
		run.kv.sample(run.steps, leaving)
	}
	run.executed(1, ticks, tokenTick)
	return true
}

// leap executes decode steps up to the next completion, or until an arrival precedes the next step.
func (run *blisLeap) leap() bool {
	if run.decodeFor != run.running {
		ticks, ok := run.ticks(run.model.decodeBase(run.running))
		if !ok {
			return false
		}
		run.decodeFor, run.decodeTicks = run.running, ticks
	}
	k := run.finishing.soonest - run.steps + 1
	period := run.decodeTicks + run.over.period
	if period > 0 && run.arrived < run.numRequests {
		// The steps before that arrival; at least this one, which deliver has let go first.
		k = min(k, (run.arrival[run.arrived]-run.now-1)/period+1)
	}
	if period > maxLeapPeriod || period < -maxLeapPeriod {
		return false
	}
	last := run.now + (k-1)*period
	if last > run.horizon || last < -maxClock {
		return false
	}
	run.grad.composed(float64(run.now), run.head < run.arrived)
	run.now = last
	if run.grad != nil {
		run.grad.elapse(&batch{shape: shape{decodes: run.running}, context: run.kv.context(run.steps, run.running)}, k)
	}
	run.executed(k, run.decodeTicks, last+run.decodeTicks+run.over.token)
	return true
}

// ticks truncates a step time and notes a negative one.
func (run *blisLeap) ticks(micros float64) (int64, bool) {
	if micros < 0 {
		run.r.Outcome = NegativeStep
	}
	return stepTicks(micros)
}

// executed accounts for k steps, the last of which began at now, and lets the finished go.
func (run *blisLeap) executed(k, ticks, tokenTick int64) {
	run.steps += k
	run.period = ticks + run.over.period
	run.now += run.period
	last := run.steps - 1
	if run.finishing.soonest > last {
		return
	}
	run.kv.sample(last, 0)
	for run.finishing.soonest == last {
		i := run.finishing.pop()
		run.r.E2E[i] = run.latency(i, run.output[i], tokenTick)
		run.r.setLastStep(i, last)
		if run.grad != nil {
			run.differentiate(run.r.JacE2E, i, run.output[i])
		}
		run.kv.leave(run.input[i] + run.output[i] - 1 - last) // as it joined
		run.running--
	}
}

// differentiate writes the derivatives of the latency of request i, whose so many tokens the step
// before has made.
func (run *blisLeap) differentiate(rows []float64, i int, tokens int64) {
	run.grad.write(rows, i, tokens, run.input[i], run.grad.origin(i, nil))
}

// latency of request i in seconds, when it has so many tokens.
func (run *blisLeap) latency(i int, tokens, tokenTick int64) float64 {
	if run.delays.any {
		tokenTick += int64(run.delays.of(tokens, run.input[i]))
	}
	return float64(tokenTick-run.arrival[i]) / microsPerSecond
}

// finish fills in what the requests left in the queue have for a result, and the details.
func (run *blisLeap) finish() {
	r := run.r
	clear(r.Status)
	clear(r.Cached)
	clear(r.Preemptions)
	for i := range r.Generated {
		r.Generated[i] = int32(run.output[i])
	}
	for i := range r.SentS {
		r.SentS[i] = float64(run.arrival[i]) / microsPerSecond
	}
	for i := run.head; i < run.numRequests; i++ {
		r.TTFT[i], r.E2E[i] = math.NaN(), math.NaN()
		r.setScheduled(i, math.NaN())
		r.setFirstStep(i, -1)
		r.setLastStep(i, -1)
		if r.Generated != nil {
			r.Generated[i] = 0
		}
		r.clearDerivatives(i)
		r.setStatus(i, Waiting)
		r.Outcome = max(r.Outcome, Unfinished)
	}
}
