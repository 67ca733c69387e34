package sim

// v1Reference walks every step of one run.
type v1Reference struct {
	v1Run
	scheduler *v1Scheduler
	// queue is the batches that are composed and not executed, the oldest first.
	queue []*v1Batch
}

func newV1Reference(v *v1, p *Params, r *Result) *v1Reference {
	run := &v1Reference{scheduler: newV1Scheduler(v)}
	scratch := newV1RunScratch(v)
	run.start(v, p, r, &scratch)
	return run
}

// runReference simulates one candidate step by step.
func (v *v1) runReference(p *Params, r *Result) {
	r.clear()
	r.Engine = Reference
	run := newV1Reference(v, p, r)
	run.loop()
	run.finish()
}

// loop keeps up to depth batches composed ahead: one if scheduling is synchronous; two if it is
// asynchronous, so that one is composed when the one before it begins. An empty batch is not
// queued, for it takes no time.
func (run *v1Reference) loop() {
	for {
		run.receive(&run.scheduler.v1Requests)
		var empty *v1Batch
		if run.scheduler.unfinished() > 0 {
			b := run.compose()
			if len(b.entries) == 0 {
				empty = b
			} else if run.queue = append(run.queue, b); len(run.queue) < run.rules.depth {
				continue
			}
		}
		flying := len(run.queue) > 0
		if flying && !run.next() {
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

func (run *v1Reference) compose() *v1Batch {
	b := run.scheduler.compose(run.clock.now)
	run.grad.composed(run.clock.now, run.scheduler.waiting.len() > 0)
	run.r.PeakKVBlocks = max(run.r.PeakKVBlocks, b.kvUsed)
	return b
}

// next runs the oldest batch and processes its output; false ends the run.
func (run *v1Reference) next() bool {
	b := run.queue[0]
	start, duration, ok := run.execute(b.features.shape, b.features.context, b.features.attention)
	if !ok {
		return false
	}
	run.queue = run.queue[1:]
	run.trace(b, start, duration)
	run.begin(b.admitted, start)
	return run.progresses(run.process(b, start+duration+run.over.token))
}

// process delivers the tokens of a batch, in its order, at the given time in µs; false if it gave none.
func (run *v1Reference) process(b *v1Batch, at float64) bool {
	tokens, finished := false, false
	for _, e := range b.entries {
		if !e.samples {
			continue
		}
		tokens = true
		i := e.request
		last := run.scheduler.deliver(i)
		if run.scheduler.generated[i] == 1 {
			run.first(i, run.input[i], at)
		}
		if last {
			run.last(i, run.input[i], run.output[i], at)
			finished = true
		}
	}
	if finished {
		run.scheduler.dropFinished()
	}
	return tokens
}

func (run *v1Reference) finish() { run.report(&run.scheduler.v1Requests) }

// trace reports a step, or a batch that only preempted, to whoever listens.
func (run *v1Reference) trace(b *v1Batch, start, duration float64) {
	if run.r.OnStep == nil {
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
	run.r.OnStep(step)
}
