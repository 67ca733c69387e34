package sim

// next runs the oldest batch and delivers its tokens; false gives the run up.
func (run *v1Leap) next() bool {
	b := run.batch(run.executed)
	return run.finishBatch(b.shape, b.context, b.attention, b.admitted, b.prefilled)
}

// finishBatch runs a batch and delivers its tokens. It is the first one of the requests before
// planned[admitted], and ends the prefills of those before planned[prefilled].
func (run *v1Leap) finishBatch(b shape, context, attention int64, admitted, prefilled int) bool {
	start, duration, ok := run.execute(b, context, attention)
	if !ok {
		return false
	}
	run.begin(admitted, start)
	run.deliver(prefilled, start+duration+run.over.token)
	return true
}

// deliver hands out the tokens of the batch executed last: the first ones of those before
// planned[prefilled] who have none, and the last ones.
func (run *v1Leap) deliver(prefilled int, at float64) {
	number := run.executed - 1
	if run.started < prefilled {
		run.firstTokens(prefilled, at)
	}
	if run.active.soonest == number { // with synchronous scheduling
		run.lastTokens(at)
	}
	if run.leaving.next() == number { // with asynchronous scheduling
		run.sampleKV()
		for run.leaving.next() == number {
			run.release(&run.planned[run.leaving.pop()], at)
		}
	}
}

// firstTokens gives those before planned[prefilled] who have none their first token. With synchronous
// scheduling they begin to decode here, as join lets them; written out, for it is the hot path.
func (run *v1Leap) firstTokens(prefilled int, at float64) {
	place, number := run.started, run.executed-1
	requests := run.planned[place:prefilled]
	run.started = prefilled
	sync, single := run.rules.depth == 1, false
	for i := range requests {
		q := &requests[i]
		switch {
		case run.plain:
			run.r.TTFT[q.request] = (at - q.arrival) / microsPerSecond
		case run.bare:
			run.r.TTFT[q.request] = (at + run.delays.of(1, q.input) - q.arrival) / microsPerSecond
		default:
			run.first(q.request, q.input, at)
		}
		if q.output == 1 {
			single = true
		}
		if !sync {
			continue
		}
		if q.output == 1 {
			run.held += run.kv.held(q.input)
			continue
		}
		run.active.insert(finish{number + q.output - 1, place + i})
		run.kv.join(q.input - number)
	}
	if !single {
		return
	}
	run.sampleKV()
	for i := range requests {
		if q := &requests[i]; q.output == 1 {
			run.release(q, at)
		}
	}
}

// lastTokens lets the requests go whose last token the batch executed last has given. There are some,
// and scheduling is synchronous.
func (run *v1Leap) lastTokens(at float64) {
	number := run.executed - 1
	run.sampleKV()
	for run.active.soonest == number {
		q := &run.planned[run.active.pop()]
		run.kv.leave(q.input + q.output - 1 - number) // as it joined
		run.lastToken(q, at)
	}
}

// release completes a request whose blocks are in held.
func (run *v1Leap) release(q *v1Planned, at float64) {
	run.held -= run.kv.held(q.input + q.output - 1)
	run.lastToken(q, at)
}

// lastToken gives a request its last token, and its seat to others.
func (run *v1Leap) lastToken(q *v1Planned, at float64) {
	run.seats--
	if !run.bare {
		if run.prefix.follow {
			run.prefix.drop(run.chains, q.request)
		}
		run.last(q.request, q.input, q.output, at)
		return
	}
	if run.delays.any {
		at += run.delays.of(q.output, q.input)
	}
	run.r.E2E[q.request] = (at - q.arrival) / microsPerSecond
}

// sampleKV notes the demand for blocks before some are given back, where that is followed.
func (run *v1Leap) sampleKV() {
	if run.kv.follow {
		run.sampleHeld()
	}
}

func (run *v1Leap) sampleHeld() {
	besides := run.held
	if run.partial != noRequest {
		besides += run.kv.held(run.done)
	}
	run.kv.raise(run.composed-1, besides-run.prefix.overlap)
}

// finish fills in the details: all requests have finished.
func (run *v1Leap) finish() {
	r := run.r
	clear(r.Status)
	if !run.shares {
		clear(r.Cached)
	}
	clear(r.Preemptions)
	for i := range r.Generated {
		r.Generated[i] = int32(run.output[i])
	}
	for i := range r.SentS {
		r.SentS[i] = run.sent[i] / microsPerSecond
	}
}
