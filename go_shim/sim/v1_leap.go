package sim

import "math"

// provablyLeapable tells what is known before the first candidate: whether requests can be told
// apart by their lengths and arrivals alone. That holds when
//   - a step can always decode for every seat: the budget covers max_num_seqs;
//   - the long-prefill threshold never cuts, so only the last running request is in mid-prefill;
//   - whole prompts fit the budget where they may not be chunked, and max_model_len;
//   - whatever is running, the pool has blocks for all of it: nobody is refused or preempted;
//   - no prompt can hit the prefix cache, or prompts alone do (see sharing).
//
// What is known only during a run (the horizon, a step that is negative or no number, a prefix that
// may have been evicted) makes runLeap give up.
func (v *v1) provablyLeapable() bool {
	seats := min(v.maxSeqs, int64(v.numRequests))
	held, all := make([]int64, v.numRequests), int64(0)
	for i, n := range v.input {
		held[i] = v1Held(n, v.output[i], v.blockSize)
		all += held[i]
		if n >= v.maxLen || v.threshold > 0 && n > v.threshold || !v.rules.chunked && n > v.budget {
			return false
		}
	}
	v.shares, v.together = v.sharing(), sumLargest(held, int(seats))
	if v.lasting = v.usable - v.together + 1; all <= v.usable+2 {
		v.lasting = noLimit // nothing is evicted before the last request comes
	}
	return seats <= v.budget && v.blockSize <= maxLeapBlock &&
		(v.shares || !v.caching || !v.chains.anyShared) &&
		v.together+v.watermark <= v.usable
}

// v1Held is the most blocks that a request ever holds. Its last token is never computed.
func v1Held(input, output, blockSize int64) int64 { return ceilDiv(input+output-1, blockSize) }

// v1LeapScratch is what a run needs beside its result; it is reused, so that a run allocates nothing.
type v1LeapScratch struct {
	client  v1Client
	active  finishWheel
	firsts  finishQueue
	leaving finishQueue
	phases  []int64 // see kvDemand
	prefix  prefixHits
	grad    gradient
}

func newV1LeapScratch(v *v1) *v1LeapScratch {
	seats := min(v.maxSeqs, int64(v.numRequests))
	return &v1LeapScratch{
		client: *newV1Client(v),
		active: newFinishWheel(int(seats), v.longest.output),
		phases: make([]int64, v.blockSize),
		prefix: newPrefixHits(v),
	}
}

// v1Leap is the state of one run between two batches. Batches are numbered as they are composed;
// with asynchronous scheduling, one is composed while the one before it executes. A request's
// tokens come in consecutive batches from the one that ends its prefill, so the number of its last
// batch is known then, and nothing has to be done in between. Requests go by their places in planned.
type v1Leap struct {
	*v1
	r      *Result
	model  model
	delays delays
	over   v1Overheads
	least  float64 // µs; steps are in order from here
	below  float64 // up to here
	client *v1Client
	grad   *gradient // nil: no derivatives wanted
	bare   bool      // see onlyLatencies
	clock  v1Clock
	kv     kvDemand
	prefix *prefixHits // where requests share prefixes
	lost   bool        // a prefix may have been evicted

	composed int64    // batches composed: the number of the next one
	executed int64    // batches executed
	pending  [2]batch // by number modulo 2: composed, not executed
	heads    [2]int   // what head was after composing them

	busy    int32     // how often the engine woke up
	sent    []float64 // when each request was or will be sent; in open loop, its arrival
	nextAt  float64   // when the next request is sent; +Inf: not yet known, or none left
	arrived int       // the queue is planned[head:arrived]
	head    int
	begun   int   // planned[:begun] have been in a batch that was executed
	seats   int64 // requests between admission and the delivery of their last token

	partial int   // the place of the request in mid-prefill, or noRequest
	done    int64 // tokens of it that are computed

	active  *finishWheel // requests that the next batch decodes for, by last batch
	firsts  *finishQueue // first tokens in batches not executed
	leaving *finishQueue // last tokens in batches not executed
	held    int64        // blocks of those who have all their batches: in leaving, or of one token
}

const noRequest = -1

// runLeap simulates one candidate, skipping runs of equal steps. It returns false, with r
// unfinished, where it cannot prove that it gives what the reference engine would.
func (v *v1) runLeap(p *Params, sc *v1LeapScratch, r *Result) bool {
	sc.client.reset()
	sc.active.reset()
	sc.firsts.reset()
	sc.leaving.reset()
	run := v1Leap{
		v1: v, r: r, model: newModel(&p.Coeffs), delays: newDelays(&p.Coeffs), client: &sc.client,
		partial: noRequest, active: &sc.active, firsts: &sc.firsts, leaving: &sc.leaving,
		prefix: &sc.prefix,
	}
	run.over = newV1Overheads(&p.Overheads, run.delays.most(v.longest))
	run.clock = newV1Clock(run.model, run.over.gap)
	run.least, run.below = run.over.durations()
	run.sent = v.arrival
	if v.concurrency > 0 {
		run.sent = run.client.sent
	}
	run.nextAt = run.nextSend()
	run.kv.reset(newDivider(v.blockSize), sc.phases, !r.NoPeak)
	if v.shares {
		run.prefix.reset(!r.NoPeak)
	}
	if run.grad = newGradient(r, &sc.grad); run.grad != nil {
		run.client.differentiate()
	}
	run.bare = run.onlyLatencies()
	if !run.loop() {
		return false
	}
	r.Outcome, r.Steps, r.PeakKVBlocks, r.Engine = OK, run.executed, run.kv.peak, Leap
	run.finish()
	return true
}

// onlyLatencies tells whether all that a request leaves behind is its latencies, as in most runs of a
// fit, which are the engine's time from its arrival.
func (run *v1Leap) onlyLatencies() bool {
	r := run.r
	return run.concurrency == 0 && !run.delays.any && run.grad == nil && !run.prefix.follow &&
		r.FirstStep == nil && r.LastStep == nil && r.BusyPeriod == nil
}

// loop composes up to depth batches ahead and executes the oldest, as the reference engine does.
func (run *v1Leap) loop() bool {
	for {
		if run.nextAt <= run.clock.now {
			run.receive()
		}
		if run.seats > 0 || run.head < run.arrived {
			if run.rules.depth == 1 && run.partial == noRequest &&
				run.head < run.arrived && run.seats < run.maxSeqs && !run.shares {
				done, ok := run.admitWhole()
				if !ok {
					return false
				}
				if done {
					continue
				}
			}
			if run.quiet() {
				if !run.leap() {
					return false
				}
				continue
			}
			if run.compose() && run.composed-run.executed < int64(run.rules.depth) {
				continue
			}
			if run.lost {
				return false
			}
		}
		if run.composed > run.executed {
			if !run.execute() {
				return false
			}
			continue
		}
		if math.IsInf(run.nextAt, 1) {
			return true // nobody is left: whoever has a seat has a batch in flight
		}
		if run.nextAt > run.horizon {
			return false
		}
		if run.grad != nil {
			run.grad.jump(run.client.nextGrad())
		}
		run.clock.jump(run.nextAt)
		run.busy++
	}
}

// receive puts every request that was sent by now into the queue.
func (run *v1Leap) receive() {
	if run.bare {
		n := run.arrived
		for run.planned[n].arrival <= run.clock.now {
			n++
		}
		run.arrived, run.nextAt = n, run.planned[n].arrival
		return
	}
	for run.nextAt <= run.clock.now {
		i := run.planned[run.arrived].request
		if run.concurrency > 0 {
			run.client.send()
		}
		run.r.setBusyPeriod(i, run.busy)
		if run.grad != nil {
			run.grad.arriveV1(i, run.nextAt, &run.clock)
		}
		run.arrived++
		run.nextAt = run.nextSend()
	}
}

// nextSend asks the client, who has nothing to say in open loop.
func (run *v1Leap) nextSend() float64 {
	if run.concurrency > 0 {
		return run.client.nextSend()
	}
	return run.planned[run.arrived].arrival
}

// quiet tells whether the next batch, and the one in flight, only decode for the same requests.
func (run *v1Leap) quiet() bool {
	decodes := run.active.size
	if decodes == 0 || run.partial != noRequest || !run.leaving.empty() || run.admits(run.budget-decodes) {
		return false
	}
	if run.rules.depth == 1 {
		return true
	}
	return run.composed > run.executed && run.batch(run.executed).onlyDecodes(decodes)
}

// admits tells whether the head of the queue would get a share of so much budget.
func (run *v1Leap) admits(budget int64) bool {
	return run.head < run.arrived && run.seats < run.maxSeqs && budget > 0 &&
		(run.rules.chunked || run.planned[run.head].input <= budget)
}

func (run *v1Leap) batch(number int64) *batch { return &run.pending[number&1] }

// leap composes and executes decode batches for the same requests, up to one that gives a last
// token, or until a request is sent before the next is composed.
func (run *v1Leap) leap() bool {
	decodes := run.active.size
	context := run.kv.context(run.executed, decodes)
	most := run.active.soonest - run.composed + 1
	base := run.model.decodeBase(decodes)
	if !run.inOrder(base, context) || run.model.context && !run.inOrder(base, context+(most-1)*decodes) {
		return false
	}
	run.grad.composed(run.clock.now, run.head < run.arrived)
	if run.model.context {
		run.clock.pace(base, decodes, context)
	} else {
		run.clock.evenPace(base)
	}
	k := most
	if run.head == run.arrived && run.seats < run.maxSeqs && decodes < run.budget {
		k = run.clock.advanceBefore(run.nextAt, most)
	} else { // whoever is sent meanwhile has to wait
		run.clock.advance(k)
	}
	last := run.clock.last
	if last > run.horizon {
		return false
	}
	if run.grad != nil {
		run.grad.elapse(&batch{shape: shape{decodes: decodes}, context: context}, k)
	}
	run.composed += k
	run.executed += k
	context += k * decodes // of the batch after these
	switch {
	case run.rules.depth > 1:
		*run.batch(run.executed) = batch{shape: shape{decodes: decodes}, context: context} // in flight
		run.retire()
	case k == most:
		run.lastTokens(last + run.model.duration(base, context-decodes) + run.over.token)
	}
	return true
}

// inOrder tells whether a step of this base and these contexts takes a time that check is content
// with.
func (run *v1Leap) inOrder(base float64, context int64) bool {
	duration := run.model.duration(base, context)
	return duration >= run.least && duration < run.below
}

// compose schedules one batch; false if it is empty.
func (run *v1Leap) compose() bool {
	b := batch{shape: shape{decodes: run.active.size}}
	b.context = run.kv.context(run.composed, b.decodes)
	budget := run.budget - b.decodes
	if run.partial != noRequest && budget > 0 {
		n := min(run.planned[run.partial].input-run.done, budget)
		budget -= n
		b.add(n, run.done)
		run.prefill(run.partial, n)
	}
	for run.admits(budget) {
		place := run.head
		run.done = 0
		if run.shares {
			var known bool
			if run.done, known = run.hit(&run.planned[place]); !known {
				run.lost = true
				return false
			}
		}
		n := min(run.planned[place].input-run.done, budget)
		budget -= n
		b.add(n, run.done)
		run.head++
		run.seats++
		run.prefill(place, n)
	}
	run.grad.composed(run.clock.now, run.head < run.arrived)
	if b.decodes == 0 && b.numChunks == 0 {
		return false
	}
	*run.batch(run.composed) = b
	run.heads[run.composed&1] = run.head
	run.composed++
	run.retire()
	return true
}

// prefill gives the request at a place a chunk of n tokens, its last perhaps.
func (run *v1Leap) prefill(place int, n int64) {
	q := &run.planned[place]
	run.done += n
	if run.shares {
		run.cache(q, run.done)
	}
	if run.done < q.input {
		run.partial = place
		return
	}
	run.partial = noRequest
	run.firsts.push(finish{run.composed, place})
	if q.output == 1 {
		run.held += run.kv.held(q.input)
		return
	}
	run.active.insert(finish{run.composed + q.output - 1, place})
	run.kv.join(q.input - run.composed)
}

// retire moves the requests that the batch composed last gives their last token out of the way of
// the next one. They keep their seats and blocks until they have it.
func (run *v1Leap) retire() {
	last := run.composed - 1
	for run.active.soonest == last {
		place := run.active.pop()
		q := &run.planned[place]
		run.kv.leave(q.input + q.output - 1 - last) // as it joined
		run.held += run.kv.held(q.input + q.output - 1)
		run.leaving.push(finish{last, place})
	}
}

// execute runs the oldest batch.
func (run *v1Leap) execute() bool {
	b := run.batch(run.executed)
	base := run.model.base(b.shape, b.attention)
	if !run.inOrder(base, b.context) {
		return false
	}
	start := run.clock.step(base, b.decodes, b.context)
	if start > run.horizon {
		return false
	}
	if run.grad != nil {
		run.grad.elapse(b, 1)
	}
	if run.r.ScheduledS != nil {
		run.begin(run.heads[run.executed&1], start)
	}
	run.executed++
	run.deliver(start + run.model.duration(base, b.context) + run.over.token)
	return true
}
