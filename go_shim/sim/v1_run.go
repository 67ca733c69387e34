package sim

import "math"

// v1Run is what the engines of vllm-v1 share in one run: the client, the time, and what is noted of
// each request. An engine adds who is in which batch, and which batches it composes at once.
type v1Run struct {
	*v1
	r      *Result
	model  model
	delays delays
	over   v1Overheads
	// grad is nil where no derivatives are wanted.
	grad  *gradient
	clock v1Clock

	// client has something to say in closed loop only.
	client *v1Client
	// sent is when each request was or will be sent, in µs: in open loop, its arrival.
	sent []float64
	// nextAt is when the next request is sent, in µs; +Inf: none is left, or it is not known yet.
	nextAt float64
	// arrived is how many requests were sent: planned[:arrived].
	arrived int
	// begun is how many requests have been in a batch that was executed: planned[:begun]. Requests are
	// first admitted in the order in which they are sent.
	begun int

	// executed is how many batches were executed: the number of the next one.
	executed int64
	// barren is how many steps were executed since the last token.
	barren int64
	// busy is how often the engine woke up.
	busy int32
}

// v1RunScratch is the memory of a v1Run that the next one uses again.
type v1RunScratch struct {
	client v1Client
	grad   gradient
}

func newV1RunScratch(v *v1) v1RunScratch { return v1RunScratch{client: newV1Client(v)} }

// start begins the run of one candidate. The run must be zero.
func (run *v1Run) start(v *v1, p *Params, r *Result, sc *v1RunScratch) {
	sc.client.reset()
	r.Outcome = OK
	run.v1, run.r, run.client, run.sent = v, r, &sc.client, v.arrival
	run.model, run.delays = newModel(&p.Coeffs), newDelays(&p.Coeffs)
	run.over = newV1Overheads(&p.Overheads, run.delays.most(v.longest))
	run.clock = newV1Clock(run.model, run.over.gap)
	if run.concurrency > 0 {
		run.sent = run.client.sent
	}
	if run.grad = newGradient(r, &sc.grad); run.grad != nil {
		run.client.differentiate()
	}
	run.nextAt = run.planned[0].arrival
}

// arrive notes that the next request is sent, and returns it.
func (run *v1Run) arrive() int {
	i := run.planned[run.arrived].request
	if run.concurrency > 0 {
		run.client.send()
	}
	run.r.setBusyPeriod(i, run.busy)
	if run.grad != nil {
		run.grad.arriveV1(i, run.nextAt, &run.clock)
	}
	run.arrived++
	if run.concurrency > 0 {
		run.nextAt = run.client.nextSend()
	} else {
		run.nextAt = run.planned[run.arrived].arrival
	}
	return i
}

// arriveV1 is arrive by the clock of vllm-v1: request i was sent at time a, in µs.
func (g *gradient) arriveV1(i int, a float64, c *v1Clock) {
	if g == nil || g.renewal == nil {
		return
	}
	back, t := c.compositionAfter(a)
	late := 0.0
	if period := c.periodOf(-1 - back); t > a && period > 0 {
		late = min((t-a)/period, 1)
	}
	g.arrive(i, t, late, back)
}

// receive puts every request that was sent by now into the queue.
func (run *v1Run) receive(q *v1Requests) {
	for run.nextAt <= run.clock.now {
		q.add(run.arrive())
	}
}

// wait lets an idle engine sleep until the next request. False ends the run: none is left, so that what
// is unfinished is stuck for ever, or the next one is sent after the horizon.
func (run *v1Run) wait() bool {
	if math.IsInf(run.nextAt, 1) {
		return false
	}
	if run.nextAt > run.horizon {
		run.r.Outcome = Horizon
		return false
	}
	if run.grad != nil {
		run.grad.jump(run.client.nextGrad())
	}
	run.clock.jump(run.nextAt)
	run.busy++
	return true
}

// accepts tells whether a step may take so many µs. Two comparisons settle most lengths.
func (run *v1Run) accepts(duration float64) bool {
	return duration >= run.over.least && duration < run.over.below || run.acceptsRare(duration)
}

// acceptsRare is accepts by the rule itself. If it refuses, it notes how the run ends.
//
//go:noinline
func (run *v1Run) acceptsRare(duration float64) bool {
	outcome := run.over.check(duration)
	if outcome != OK {
		run.r.Outcome = outcome
	}
	return outcome == OK
}

// execute runs a batch to its end, and returns when it began and how long it took, in µs. False ends the
// run: the step has an impossible length, or begins after the horizon. The parts of the batch come one
// by one, as a compiler keeps no more than a shape in registers.
func (run *v1Run) execute(b shape, context, attention int64) (start, duration float64, ok bool) {
	base := run.model.base(b, attention)
	duration = run.model.duration(base, context)
	if !run.accepts(duration) {
		return 0, 0, false
	}
	start = run.clock.step(base, b.decodes, context)
	if start > run.horizon {
		run.r.Outcome = Horizon
		return 0, 0, false
	}
	if run.grad != nil {
		run.grad.elapse(&batch{b, context, attention}, 1)
	}
	run.executed++
	return start, duration, true
}

// begin notes when the batch began, in µs, that is the first one of the requests before planned[head].
func (run *v1Run) begin(head int, start float64) {
	if run.r.ScheduledS == nil {
		return
	}
	for ; run.begun < head; run.begun++ {
		run.r.setScheduled(run.planned[run.begun].request, start)
	}
}

// first notes the first token of request i, which the batch executed last has made, in µs. Its length
// comes from the caller, who has it at hand.
func (run *v1Run) first(i int, input int64, at float64) {
	if run.delays.any {
		at += run.delays.of(1, input)
	}
	run.r.TTFT[i] = (at - run.sent[i]) / microsPerSecond
	run.r.setFirstStep(i, run.executed-1)
	if run.grad != nil {
		run.grad.write(run.r.JacTTFT, i, 1, input, run.grad.origin(i, run.client.since(i)))
	}
}

// last notes the last token of request i, as first does.
func (run *v1Run) last(i int, input, output int64, at float64) {
	if run.delays.any {
		at += run.delays.of(output, input)
	}
	run.r.E2E[i] = (at - run.sent[i]) / microsPerSecond
	run.r.setLastStep(i, run.executed-1)
	if run.grad != nil {
		run.grad.write(run.r.JacE2E, i, output, input, run.grad.origin(i, run.client.since(i)))
	}
	if run.concurrency > 0 {
		run.client.completed(i, run.executed-1, max(at, run.clock.last), run.grad)
		run.nextAt = run.client.nextSend()
	}
}

// progresses counts the steps without a token. False ends the run: there were more of them than any
// prefill needs.
func (run *v1Run) progresses(tokens bool) bool {
	run.barren++
	if tokens {
		run.barren = 0
	}
	if run.barren > run.patience {
		run.r.Outcome = Hang
		return false
	}
	return true
}

// report fills in what the run left of each request.
func (run *v1Run) report(q *v1Requests) {
	r := run.r
	r.Steps = run.executed
	status := [...]Status{v1Unsent: NotArrived, v1Waiting: Waiting, v1Running: Running, v1Finished: Finished}
	for i, phase := range q.phase {
		r.setStatus(i, status[phase])
		if phase != v1Finished {
			r.Outcome = max(r.Outcome, Unfinished)
		}
		if r.Cached != nil {
			r.Cached[i] = max(q.cachedFirst[i], 0)
		}
		if r.SentS != nil && phase != v1Unsent {
			r.SentS[i] = run.sent[i] / microsPerSecond
		}
	}
	copy(r.Preemptions, q.preemptions)
	copy(r.Generated, q.generated)
}
