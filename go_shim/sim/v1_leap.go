package sim

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
	common  v1RunScratch
	active  finishWheel
	leaving finishQueue
	phases  []int64 // see kvDemand
	prefix  prefixHits
}

func newV1LeapScratch(v *v1) *v1LeapScratch {
	seats := min(v.maxSeqs, int64(v.numRequests))
	return &v1LeapScratch{
		common: newV1RunScratch(v),
		active: newFinishWheel(int(seats), v.longest.output),
		phases: make([]int64, v.blockSize),
		prefix: newPrefixHits(v),
	}
}

// v1Leap is the state of one run between two batches. Batches are numbered as they are composed;
// with asynchronous scheduling, one is composed while the one before it executes. A request's
// tokens come in consecutive batches from the one that ends its prefill, so the number of its last
// batch is known then, and nothing has to be done in between. Requests go by their places in planned:
// they are admitted, and end their prefills, in this order.
type v1Leap struct {
	v1Run
	// bare: all that a request leaves behind is its latencies; see onlyLatencies. plain: nor has it
	// any delay of its own.
	bare, plain bool
	kv          kvDemand
	// prefix is used where requests share prefixes.
	prefix *prefixHits
	// lost: a prefix may have been evicted, so the run has to be given up.
	lost bool

	// composed is how many batches were composed: the number of the next one.
	composed int64
	// pending is the batches that are composed and not executed, by number modulo 2.
	pending [2]v1LeapBatch

	// head is the place of the next request to admit: the queue is planned[head:arrived].
	head int
	// started is how many requests have their first token: planned[:started].
	started int
	// seats is how many requests are between admission and the delivery of their last token.
	seats int64
	// partial is the place of the request in mid-prefill, or noRequest.
	partial int
	// done is how many tokens of it are computed.
	done int64

	// active is the requests that the next batch decodes for, by last batch.
	active *finishWheel
	// leaving is those whose last token is in flight; always empty with synchronous scheduling.
	leaving *finishQueue
	// held is the blocks of those who have all their batches: they are in leaving, or have one token.
	held int64
}

// v1LeapBatch is a batch, and what head and the number of prefills that had ended were after it.
type v1LeapBatch struct {
	batch
	admitted, prefilled int
}

const noRequest = -1

// runLeap simulates one candidate, skipping runs of equal steps. It returns false, with r
// unfinished, where it cannot prove that it gives what the reference engine would.
func (v *v1) runLeap(p *Params, sc *v1LeapScratch, r *Result) bool {
	sc.active.reset()
	sc.leaving.reset()
	run := v1Leap{partial: noRequest, active: &sc.active, leaving: &sc.leaving, prefix: &sc.prefix}
	run.start(v, p, r, &sc.common)
	run.kv.reset(newDivider(v.blockSize), sc.phases, !r.NoPeak)
	if v.shares {
		run.prefix.reset(!r.NoPeak)
	}
	run.bare = run.onlyLatencies()
	run.plain = run.bare && !run.delays.any
	run.loop()
	if run.lost || r.Outcome != OK {
		return false
	}
	r.Steps, r.PeakKVBlocks, r.Engine = run.executed, run.kv.peak, Leap
	run.finish()
	return true
}

// onlyLatencies tells whether all that a request leaves behind is its latencies, counted from its
// arrival. That is so in most runs of a fit, and saves asking for each token what else is wanted.
func (run *v1Leap) onlyLatencies() bool {
	r := run.r
	return run.concurrency == 0 && run.grad == nil && !run.prefix.follow &&
		r.FirstStep == nil && r.LastStep == nil && r.BusyPeriod == nil
}

// loop composes up to depth batches ahead and executes the oldest, as the reference engine does. It
// ends when all requests have finished, or when the run has to be given up: r.Outcome or lost tell.
func (run *v1Leap) loop() {
	for {
		if run.nextAt <= run.clock.now {
			run.enqueue()
		}
		if run.seats > 0 || run.head < run.arrived {
			if run.mayAdmitWhole() {
				done, ok := run.admitWhole()
				if !ok {
					return
				}
				if done {
					continue
				}
			}
			if run.quiet() {
				if !run.leap() {
					return
				}
				continue
			}
			if run.compose() && run.composed-run.executed < int64(run.rules.depth) {
				continue
			}
			if run.lost {
				return
			}
		}
		if run.composed > run.executed {
			if !run.next() {
				return
			}
			continue
		}
		if !run.wait() { // whoever has a seat has a batch in flight: if none is left to send, all is done
			return
		}
	}
}

// enqueue puts every request that was sent by now into the queue.
func (run *v1Leap) enqueue() {
	if !run.bare {
		for run.nextAt <= run.clock.now {
			run.arrive()
		}
		return
	}
	n := run.arrived // as arrive does
	for run.planned[n].arrival <= run.clock.now {
		n++
	}
	run.arrived, run.nextAt = n, run.planned[n].arrival
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

func (run *v1Leap) batch(number int64) *v1LeapBatch { return &run.pending[number&1] }

// leap composes and executes decode batches for the same requests, up to one that gives a last
// token, or until a request is sent before the next is composed. False gives the run up.
func (run *v1Leap) leap() bool {
	decodes := run.active.size
	context := run.kv.context(run.executed, decodes)
	most := run.active.soonest - run.composed + 1
	base := run.model.decodeSeconds(decodes) // what decodeBase does, which is too long to be inlined
	if run.model.beyond {
		base = plusExtra(base, run.model.c, shape{decodes: decodes}, 0)
	}
	base *= microsPerSecond
	if !run.accepts(run.model.duration(base, context)) ||
		run.model.context && !run.accepts(run.model.duration(base, context+(most-1)*decodes)) {
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
		run.r.Outcome = Horizon
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
		run.batch(run.executed).batch = batch{shape: shape{decodes: decodes}, context: context} // in flight
		run.retire()
	case k == most:
		run.lastTokens(last + run.model.duration(base, context-decodes) + run.over.token)
	}
	return true
}
