package sim

// compose schedules one batch; false if it is empty, or if the run has to be given up: lost tells.
func (run *v1Leap) compose() bool {
	b := shape{decodes: run.active.size}
	context, pairs := run.kv.context(run.composed, b.decodes), int64(0)
	budget := run.budget - b.decodes
	if run.partial != noRequest && budget > 0 {
		n := min(run.planned[run.partial].input-run.done, budget)
		budget -= n
		b = b.with(n)
		pairs += attention(n, run.done)
		run.prefill(run.partial, n)
	}
	for run.admits(budget) {
		place := run.head
		run.done = 0
		if run.shares && !run.hit(&run.planned[place]) {
			run.lost = true
			return false
		}
		n := min(run.planned[place].input-run.done, budget)
		budget -= n
		b = b.with(n)
		pairs += attention(n, run.done)
		run.head++
		run.seats++
		run.prefill(place, n)
	}
	run.grad.composed(run.clock.now, run.head < run.arrived)
	if b.decodes == 0 && b.numChunks == 0 {
		return false
	}
	*run.batch(run.composed) = v1LeapBatch{batch{b, context, pairs}, run.head, run.prefilled()}
	run.composed++
	if run.rules.depth > 1 {
		run.retire()
	}
	return true
}

// prefilled is how many requests have ended their prefill: all that are admitted but for the last one
// perhaps.
func (run *v1Leap) prefilled() int {
	if run.partial != noRequest {
		return run.partial
	}
	return run.head
}

// prefill gives the request at a place a chunk of n tokens, its last perhaps. It decodes from the next
// batch on: with asynchronous scheduling that is composed before this one has been executed, or else
// firstTokens sees to it, so that each request is looked at once.
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
	if run.rules.depth > 1 {
		run.join(q, place)
	}
}

// join lets a request decode after the batch at hand, which ends its prefill.
func (run *v1Leap) join(q *v1Planned, place int) {
	if q.output == 1 {
		run.held += run.kv.held(q.input)
		return
	}
	run.active.insert(finish{run.composed + q.output - 1, place})
	run.kv.join(q.input - run.composed)
}

// retire moves the requests that the batch composed last gives their last token out of the way of
// the next one, which is composed before they have it. They keep their seats and blocks until then.
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
