package sim

// admitWhole composes, executes and delivers one batch at once, which synchronous scheduling allows,
// where it prefills whole prompts only. It is the batch that compose and execute would make, without
// the queues between them; most batches that are not skipped are of this kind. done is false, with
// nothing changed, where compose has to do it; ok is false where the run has to be given up.
func (run *v1Leap) admitWhole() (done, ok bool) {
	b := shape{decodes: run.active.size}
	context, pairs := run.kv.context(run.composed, b.decodes), int64(0)
	budget := run.budget - b.decodes
	first, head, seats := run.head, run.head, run.seats
	for ; head < run.arrived && seats < run.maxSeqs && budget > 0; head++ {
		n := run.planned[head].input
		if n > budget {
			if run.rules.chunked {
				return false, true
			}
			break
		}
		budget -= n
		b = b.with(n)
		pairs += attention(n, 0)
		seats++
	}
	if head == first {
		return false, true
	}
	base := run.model.base(b, pairs)
	if !run.inOrder(base, context) {
		return true, false
	}
	run.head, run.seats = head, seats
	run.grad.composed(run.clock.now, run.head < run.arrived)
	start := run.clock.step(base, b.decodes, context)
	if start > run.horizon {
		return true, false
	}
	if run.grad != nil {
		run.grad.elapse(&batch{b, context, pairs}, 1)
	}
	if run.r.ScheduledS != nil {
		run.begin(head, start)
	}
	run.composed++
	run.executed++
	run.firstTokens(first, start+run.model.duration(base, context)+run.over.token)
	return true, true
}

// firstTokens gives the requests admitted from planned[first] on their first token, and whoever is due
// the last one.
func (run *v1Leap) firstTokens(first int, at float64) {
	number := run.executed - 1
	single := false
	admitted := run.planned[first:run.head]
	for i := range admitted {
		q := &admitted[i]
		run.first(q, at)
		if q.output == 1 {
			single = true
			run.held += run.kv.held(q.input)
			continue
		}
		run.active.insert(finish{number + q.output - 1, first + i})
		run.kv.join(q.input - number)
	}
	if single {
		run.kv.sample(number, run.held)
		for i := range admitted {
			if q := &admitted[i]; q.output == 1 {
				run.held -= run.kv.held(q.input)
				run.complete(q, at)
			}
		}
	}
	if run.active.soonest == number {
		run.lastTokens(at)
	}
	if single && run.concurrency > 0 {
		run.nextAt = run.nextSend()
	}
}

// lastTokens lets the requests go whose last token the batch executed last has given. There are some.
func (run *v1Leap) lastTokens(at float64) {
	number := run.executed - 1
	run.kv.sample(number, -run.prefix.overlap)
	for run.active.soonest == number {
		q := &run.planned[run.active.pop()]
		run.kv.leave(q.input + q.output - 1 - number) // as it joined
		run.complete(q, at)
	}
	if run.concurrency > 0 {
		run.nextAt = run.nextSend()
	}
}
