package sim

// begin notes when the batch began that is the first one of the requests before planned[head].
func (run *v1Leap) begin(head int, start float64) {
	at := start / microsPerSecond
	for ; run.begun < head; run.begun++ {
		run.r.ScheduledS[run.planned[run.begun].request] = at
	}
}

// deliver hands out the first and last tokens of the batch executed last.
func (run *v1Leap) deliver(at float64) {
	number := run.executed - 1
	before := run.seats
	for run.firsts.next() == number {
		q := &run.planned[run.firsts.pop()]
		run.first(q, at)
		if q.output == 1 {
			run.release(q, at, before)
		}
	}
	for run.leaving.next() == number {
		run.release(&run.planned[run.leaving.pop()], at, before)
	}
	if run.seats < before && run.concurrency > 0 {
		run.nextAt = run.nextSend()
	}
}

// release completes a request and gives its blocks to others. before is how many
// seats were taken before the first of this batch left.
func (run *v1Leap) release(q *v1Planned, at float64, before int64) {
	if run.seats == before {
		run.sampleKV()
	}
	run.held -= run.kv.held(q.input + q.output - 1)
	run.complete(q, at)
}

// first gives a request its first token.
func (run *v1Leap) first(q *v1Planned, at float64) {
	if run.bare {
		run.r.TTFT[q.request] = (at - q.arrival) / microsPerSecond
		return
	}
	run.recordFirst(q, at)
}

func (run *v1Leap) recordFirst(q *v1Planned, at float64) {
	i := q.request
	if run.delays.any {
		at += run.delays.of(1, q.input)
	}
	run.r.TTFT[i] = (at - run.sent[i]) / microsPerSecond
	run.r.setFirstStep(i, run.executed-1)
	if run.grad != nil {
		run.grad.write(run.r.JacTTFT, i, 1, q.input, run.grad.origin(i, run.client.since(i)))
	}
}

// complete gives a request its last token, and its seat to others.
func (run *v1Leap) complete(q *v1Planned, at float64) {
	run.seats--
	if run.bare {
		run.r.E2E[q.request] = (at - q.arrival) / microsPerSecond
		return
	}
	run.recordLast(q, at)
}

func (run *v1Leap) recordLast(q *v1Planned, at float64) {
	i := q.request
	if run.delays.any {
		at += run.delays.of(q.output, q.input)
	}
	run.r.E2E[i] = (at - run.sent[i]) / microsPerSecond
	run.r.setLastStep(i, run.executed-1)
	if run.prefix.follow {
		run.prefix.drop(run.chains, i)
	}
	if run.grad != nil {
		run.grad.write(run.r.JacE2E, i, q.output, q.input, run.grad.origin(i, run.client.since(i)))
	}
	if run.concurrency > 0 {
		run.client.completed(i, run.executed-1, max(at, run.clock.last), run.grad)
	}
}

// sampleKV notes the demand for blocks before some are given back.
func (run *v1Leap) sampleKV() {
	besides := run.held
	if run.partial != noRequest {
		besides += run.kv.held(run.done)
	}
	run.kv.sample(run.composed-1, besides-run.prefix.overlap)
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
