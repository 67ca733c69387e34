package sim

import (
	"container/heap"
	"math"
)

// aStep in an event's request field marks a step instead of an arrival.
const aStep = -1

// blisEvent is an arrival of a request, or a step.
type blisEvent struct {
	tick    int64
	request int
	grad    *timeGrad // of a step's time, where derivatives are wanted; nil: zero
}

// blisEvents is ordered by time only: which of two simultaneous events comes first is up to
// container/heap, and part of the semantics.
type blisEvents []blisEvent

func (h blisEvents) Len() int           { return len(h) }
func (h blisEvents) Less(i, j int) bool { return h[i].tick < h[j].tick }
func (h blisEvents) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *blisEvents) Push(e any)        { *h = append(*h, e.(blisEvent)) }
func (h *blisEvents) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}

// blisReference walks every event of one run.
type blisReference struct {
	*blis
	model    model
	delays   delays
	over     overheads
	events   blisEvents
	arriving int // arrival events not yet executed
	kv       *kvPool
	queue    []int
	running  []int
	progress []int64 // tokens of a request that are computed
	cached   []int64 // tokens of it that were found in the prefix cache
	next     int64   // tick of the step pushed last
	period   int64   // from the step before to that one
	stepSet  bool    // the original's mark "the next step is known"
	result   *Result
	grad     *gradient // nil: no derivatives wanted
	busy     int32     // how often an arrival found the server idle

	standstill int // steps in a row that changed nothing, not even the time
}

// runReference simulates one candidate event by event.
func (b *blis) runReference(p *Params, r *Result) {
	over, finite := b.truncateOverheads(p)
	run := &blisReference{
		blis: b, model: newModel(&p.Coeffs), delays: newDelays(&p.Coeffs), over: over, arriving: b.generated,
		kv: newKVPool(b), progress: make([]int64, b.numRequests), cached: make([]int64, b.numRequests),
		result: r,
	}
	run.grad = newGradient(r, nil)
	r.clear()
	r.Engine = Reference
	for i := 0; i < b.generated; i++ {
		heap.Push(&run.events, blisEvent{tick: b.arrival[i], request: i})
	}
	if finite {
		run.loop()
	} else {
		r.Outcome = NonFinite
	}
	for _, i := range run.queue {
		r.setStatus(i, Waiting)
	}
	for _, i := range run.running {
		r.setStatus(i, Running)
		if r.Outcome == Hang && run.input[i] == 0 {
			r.TTFT[i] = math.NaN() // rewritten by every step, for ever
			r.setFirstStep(i, -1)
			r.clearDerivatives(i)
		}
	}
	run.finish()
}

// finish fills in what the run left of each request.
func (run *blisReference) finish() {
	r := run.result
	for i := range r.E2E {
		if math.IsNaN(r.E2E[i]) {
			r.Outcome = max(r.Outcome, Unfinished)
		}
		if r.Cached != nil {
			r.Cached[i] = int32(run.cached[i])
		}
		if r.Generated != nil && !math.IsNaN(r.TTFT[i]) {
			r.Generated[i] = int32(min(run.progress[i]-run.input[i]+1, run.output[i]))
		}
	}
}

func (run *blisReference) loop() {
	for len(run.events) > 0 {
		event := heap.Pop(&run.events).(blisEvent)
		if event.request != aStep {
			run.arrive(event)
		} else if !run.step(event) {
			return
		}
		if event.tick > run.horizon {
			if len(run.events) > 0 || run.generated < run.numRequests {
				run.result.Outcome = max(run.result.Outcome, Horizon)
			}
			return
		}
	}
}

func (run *blisReference) arrive(event blisEvent) {
	run.arriving--
	run.queue = append(run.queue, event.request)
	if !run.stepSet {
		run.busy++
		if run.grad != nil {
			run.grad.jump(nil)
		}
		run.next = event.tick
		heap.Push(&run.events, blisEvent{tick: event.tick, request: aStep})
	}
	run.result.setBusyPeriod(event.request, run.busy)
	run.grad.arriveBLIS(event.request, event.tick, run.next, run.period)
	if run.result.SentS != nil {
		run.result.SentS[event.request] = float64(event.tick) / microsPerSecond
	}
}

// step executes one step and schedules the next; false ends the run.
func (run *blisReference) step(event blisEvent) bool {
	now, before := event.tick, run.kv.changes
	var b batch
	first := len(run.running)
	budget := run.decodePass(&b)
	admitted := run.prefillPass(&b, budget)
	micros := run.model.duration(run.model.base(b.shape, b.attention), b.context)
	ticks, ok := stepTicks(micros)
	if !ok || now > maxClock || now < -maxClock {
		run.result.Outcome = NonFinite
		return false
	}
	if micros < 0 {
		run.result.Outcome = max(run.result.Outcome, NegativeStep)
	}
	run.result.Steps++
	nextGrad := run.elapse(event, &b)
	run.trace(now, ticks, b, first)
	for _, i := range run.running[first:] {
		run.result.setScheduled(i, float64(now))
	}
	advanced := run.advance(now + ticks + run.over.token)
	run.result.PeakKVBlocks = max(run.result.PeakKVBlocks, run.kv.used)
	run.complete(now + ticks + run.over.token)

	run.stepSet = len(run.running) > 0
	if !run.stepSet {
		return true
	}
	next := now + ticks + run.over.period
	run.next, run.period = next, next-now
	heap.Push(&run.events, blisEvent{next, aStep, nextGrad})
	idle := !admitted && !advanced && run.kv.changes == before
	if idle && next <= now {
		run.standstill++
	} else {
		run.standstill = 0
	}
	if run.standstill > run.patience() || idle && run.arriving == 0 && run.horizon == maxClock {
		run.result.Outcome = max(run.result.Outcome, Hang)
		return false
	}
	return true
}

// trace reports a step to OnStep. The step admitted the requests running[first:].
func (run *blisReference) trace(now, ticks int64, b batch, first int) {
	if run.result.OnStep == nil {
		return
	}
	step := StepTrace{
		StartUS: float64(now), ComposedUS: float64(now), DurationUS: float64(ticks),
		Decodes: b.decodes, PrefillTokens: b.prefill, MaxPrefill: b.maxChunk, Prefills: b.numChunks,
		Context: b.context, Attention: b.attention,
		Running: len(run.running), Waiting: len(run.queue), KVUsed: run.kv.used,
	}
	for n, i := range run.running {
		q := StepRequest{Request: i, Tokens: 1}
		if n >= first {
			q.Tokens = run.input[i] - run.cached[i]
			q.CachedTokens = run.cached[i]
		}
		step.Requests = append(step.Requests, q)
	}
	run.result.OnStep(step)
}

// elapse takes the derivative of a step's time over the step, to its tokens and to the next step.
func (run *blisReference) elapse(event blisEvent, b *batch) *timeGrad {
	if run.grad == nil {
		return nil
	}
	run.grad.jump(event.grad)
	run.grad.composed(float64(event.tick), len(run.queue) > 0)
	run.grad.elapse(b, 1)
	next := run.grad.now
	return &next
}

// differentiate writes the derivatives of the latency of request i, which has now this many tokens.
// The step at hand made the last of them.
func (run *blisReference) differentiate(rows []float64, i int, tokens int64) {
	if run.grad != nil {
		run.grad.write(rows, i, tokens, run.input[i], run.grad.origin(i, nil))
	}
}

// patience is how many steps may do nothing while time stands still (or runs backwards) before the
// run counts as hung. Arrivals of the same tick can be overtaken by step events in the heap, but
// not for long, or for ever.
func (run *blisReference) patience() int { return 64 * (run.numRequests + 1) }

// decodePass finds KV slots for the running requests while the budget lasts, and returns what is
// left of it.
func (run *blisReference) decodePass(b *batch) int64 {
	budget := run.budget
	for _, i := range run.running {
		if budget <= 0 {
			break
		}
		done := run.progress[i] - run.input[i]
		if done < 0 || run.output[i] == 0 || !run.kv.decode(i, run.outputToken(i, done)) {
			continue
		}
		budget--
		b.decodes++
		b.context += run.progress[i]
	}
	return budget
}

// prefillPass admits waiting requests, whole prompts at a time; the last may overdraw the budget.
func (run *blisReference) prefillPass(b *batch, budget int64) bool {
	admitted := false
	for int64(len(run.running)) < run.maxSeqs && len(run.queue) > 0 && budget > 0 {
		i := run.queue[0]
		hit := run.kv.hits(i)
		chunk := run.input[i] - int64(len(hit))*run.blockSize
		if !run.kv.prefill(i, run.prompt(i), run.input[i], hit) {
			break
		}
		run.queue = run.queue[1:]
		run.running = append(run.running, i)
		run.cached[i] = run.input[i] - chunk
		budget -= chunk
		b.add(chunk, run.cached[i])
		admitted = true
	}
	return admitted
}

// advance moves every running request on, whether or not it found a slot.
func (run *blisReference) advance(tokenTick int64) bool {
	advanced := false
	for _, i := range run.running {
		before := run.progress[i]
		if before == 0 {
			run.progress[i] = run.input[i]
			run.result.TTFT[i] = run.latency(i, 1, tokenTick)
			run.result.setFirstStep(i, run.result.Steps-1)
			run.differentiate(run.result.JacTTFT, i, 1)
		} else if before >= run.input[i] {
			run.progress[i]++
		}
		advanced = advanced || run.progress[i] != before
	}
	return advanced
}

// complete lets the requests go that have all their tokens. One that finds no slot for its last
// token vanishes with its blocks.
func (run *blisReference) complete(tokenTick int64) {
	var remaining []int
	for _, i := range run.running {
		last := max(run.output[i], 1) - 1
		switch {
		case run.progress[i] != run.input[i]+last:
			remaining = append(remaining, i)
		case run.output[i] > 0 && !run.kv.decode(i, run.outputToken(i, last)):
			run.result.setStatus(i, Dropped)
		default:
			run.kv.release(i)
			run.result.E2E[i] = run.latency(i, last+1, tokenTick)
			run.result.setLastStep(i, run.result.Steps-1)
			run.differentiate(run.result.JacE2E, i, last+1)
			run.result.setStatus(i, Finished)
		}
	}
	run.running = remaining
}

// latency is that of request i in seconds, until it has this many tokens.
func (run *blisReference) latency(i int, tokens, tokenTick int64) float64 {
	delay := int64(run.delays.of(tokens, run.input[i]))
	return float64(tokenTick+delay-run.arrival[i]) / microsPerSecond
}

func (run *blisReference) prompt(i int) []int32 {
	if run.prefixes == nil {
		return nil
	}
	return run.promptIDs.Row(i)
}

func (run *blisReference) outputToken(i int, n int64) int32 {
	if run.prefixes == nil || run.outputIDs == nil {
		return uniqueToken
	}
	return run.outputIDs.Row(i)[n]
}
