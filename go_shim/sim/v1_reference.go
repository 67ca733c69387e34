package sim

import "math"

// v1Reference walks every step of one run.
type v1Reference struct {
	*v1Scheduler
	client *v1Client
	model  model
	delays delays
	over   v1Overheads
	result *Result
	grad   *gradient // nil: no derivatives wanted

	clock  v1Clock
	queue  []*v1Batch // composed, not executed; oldest first
	barren int64      // steps since the last token
	busy   int32      // how often the engine woke up
}

func newV1Reference(v *v1, p *Params, r *Result) *v1Reference {
	run := &v1Reference{
		v1Scheduler: newV1Scheduler(v), client: newV1Client(v), result: r,
		model: newModel(&p.Coeffs), delays: newDelays(&p.Coeffs),
	}
	run.over = newV1Overheads(&p.Overheads, run.delays.most(v.longest))
	run.clock = newV1Clock(run.model, run.over.gap)
	return run
}

// runReference simulates one candidate step by step.
func (v *v1) runReference(p *Params, r *Result) {
	r.clear()
	r.Engine = Reference
	run := newV1Reference(v, p, r)
	if run.grad = newGradient(r, nil); run.grad != nil {
		run.client.differentiate()
	}
	run.loop()
	run.finish()
}

// loop keeps up to depth batches composed ahead: one if scheduling is synchronous; two if it is
// asynchronous, so that one is composed when the one before it begins. An empty batch is not
// queued, for it takes no time.
func (run *v1Reference) loop() {
	for {
		run.receive()
		var empty *v1Batch
		if run.unfinished() > 0 {
			b := run.compose(run.clock.now)
			run.grad.composed(run.clock.now, run.waiting.len() > 0)
			run.result.PeakKVBlocks = max(run.result.PeakKVBlocks, b.kvUsed)
			if len(b.entries) == 0 {
				empty = b
			} else if run.queue = append(run.queue, b); len(run.queue) < run.rules.depth {
				continue
			}
		}
		flying := len(run.queue) > 0
		if flying && !run.execute() {
			return
		}
		if empty != nil && len(empty.preempted) > 0 {
			run.trace(empty, run.clock.now, 0)
		}
		if !flying && !run.wait() {
			return
		}
	}
}

// receive adds every request that was sent by now.
func (run *v1Reference) receive() {
	for run.client.nextSend() <= run.clock.now {
		i := run.client.send()
		run.result.setBusyPeriod(i, run.busy)
		run.grad.arriveV1(i, run.client.sent[i], &run.clock)
		run.add(i)
	}
}

// wait lets an idle engine sleep until the next request. With none left, what is unfinished is
// stuck for ever.
func (run *v1Reference) wait() bool {
	next := run.client.nextSend()
	if math.IsInf(next, 1) {
		return false
	}
	if next > run.horizon {
		run.result.Outcome = Horizon
		return false
	}
	if run.grad != nil {
		run.grad.jump(run.client.nextGrad())
	}
	run.clock.jump(next)
	run.busy++
	return true
}

// execute runs the oldest batch to its end and processes its output; false ends the run.
func (run *v1Reference) execute() bool {
	b := run.queue[0]
	base := run.model.base(b.features.shape, b.features.attention)
	duration := run.model.duration(base, b.features.context)
	if outcome := run.over.check(duration); outcome != OK {
		run.result.Outcome = outcome
		return false
	}
	run.clock.pace(base, b.features.decodes, b.features.context)
	if run.clock.now > run.horizon {
		run.result.Outcome = Horizon
		return false
	}
	run.queue = run.queue[1:]
	run.result.Steps++
	start := run.clock.advance(1)
	if run.grad != nil {
		run.grad.elapse(&b.features, 1)
	}
	run.trace(b, start, duration)
	run.begin(b, start)
	run.process(b, start+duration+run.over.token)
	if run.barren > run.patience {
		run.result.Outcome = Hang
		return false
	}
	return true
}

// begin notes when the first step with each request began.
func (run *v1Reference) begin(b *v1Batch, start float64) {
	if run.result.ScheduledS == nil {
		return
	}
	for _, e := range b.entries {
		if math.IsNaN(run.result.ScheduledS[e.request]) {
			run.result.setScheduled(e.request, start)
		}
	}
}

// process delivers the tokens of a batch, in its order, at the given time in µs.
func (run *v1Reference) process(b *v1Batch, at float64) {
	run.barren++
	finished := false
	for _, e := range b.entries {
		if !e.samples {
			continue
		}
		run.barren = 0
		i := e.request
		last := run.deliver(i)
		if run.generated[i] == 1 {
			run.result.TTFT[i] = run.latency(i, run.reaches(i, at))
			run.result.setFirstStep(i, run.result.Steps-1)
			run.differentiate(run.result.JacTTFT, i)
		}
		if last {
			run.complete(i, run.reaches(i, at))
			finished = true
		}
	}
	if finished {
		run.dropFinished()
	}
}

// complete notes the last token of request i, which reaches the client at the given time.
func (run *v1Reference) complete(i int, at float64) {
	run.result.E2E[i] = run.latency(i, at)
	run.result.setLastStep(i, run.result.Steps-1)
	run.differentiate(run.result.JacE2E, i)
	run.client.completed(i, run.result.Steps-1, max(at, run.clock.last), run.grad)
}

// reaches is when the client has the token of request i that is made at the given time.
func (run *v1Reference) reaches(i int, at float64) float64 {
	return at + run.delays.of(run.generated[i], run.input[i])
}

// latency in seconds, from the sending of the request.
func (run *v1Reference) latency(i int, at float64) float64 {
	return (at - run.client.sent[i]) / microsPerSecond
}

// differentiate writes the derivatives of the latency of request i, made by the step before.
func (run *v1Reference) differentiate(rows []float64, i int) {
	if run.grad != nil {
		run.grad.write(rows, i, run.generated[i], run.input[i], run.grad.origin(i, run.client.since(i)))
	}
}

// finish fills in what the run left of each request.
func (run *v1Reference) finish() {
	r := run.result
	status := [...]Status{v1Unsent: NotArrived, v1Waiting: Waiting, v1Running: Running, v1Finished: Finished}
	for i, phase := range run.phase {
		r.setStatus(i, status[phase])
		if phase != v1Finished {
			r.Outcome = max(r.Outcome, Unfinished)
		}
		if r.Cached != nil {
			r.Cached[i] = int32(max(run.cachedFirst[i], 0))
		}
		if r.Preemptions != nil {
			r.Preemptions[i] = int32(run.preemptions[i])
		}
		if r.Generated != nil {
			r.Generated[i] = int32(run.generated[i])
		}
		if r.SentS != nil {
			r.SentS[i] = run.client.sent[i] / microsPerSecond
		}
	}
}

// trace reports a step, or a batch that only preempted, to whoever listens.
func (run *v1Reference) trace(b *v1Batch, start, duration float64) {
	if run.result.OnStep == nil {
		return
	}
	step := StepTrace{
		StartUS: start, ComposedUS: b.composed, DurationUS: duration,
		Decodes: b.features.decodes, PrefillTokens: b.features.prefill,
		MaxPrefill: b.features.maxChunk, Prefills: b.features.numChunks,
		Context: b.features.context, Attention: b.features.attention,
		Running: b.running, Waiting: b.waiting, KVUsed: b.kvUsed, Preempted: b.preempted,
	}
	for _, e := range b.entries {
		step.Requests = append(step.Requests, StepRequest{
			Request: e.request, Tokens: e.tokens, CachedTokens: e.hit, Resumed: e.resumed,
		})
	}
	run.result.OnStep(step)
}
