package sim

// mayAdmitWhole tells whether admitWhole is worth a try.
func (run *v1Leap) mayAdmitWhole() bool {
	return run.rules.depth == 1 && run.partial == noRequest && !run.shares &&
		run.head < run.arrived && run.seats < run.maxSeqs
}

// admitWhole composes and executes one batch at once, which synchronous scheduling allows, where it
// prefills whole prompts only. It does what compose and next do, without a batch in memory between
// them; most batches that are not skipped are of this kind. done is false, with nothing changed, where
// compose has to do it; ok is false where the run has to be given up.
func (run *v1Leap) admitWhole() (done, ok bool) {
	b := shape{decodes: run.active.size}
	context, pairs := run.kv.context(run.composed, b.decodes), int64(0)
	budget := run.budget - b.decodes
	head, seats := run.head, run.seats
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
	if head == run.head {
		return false, true
	}
	run.head, run.seats = head, seats
	run.grad.composed(run.clock.now, run.head < run.arrived)
	run.composed++
	start, duration, ok := run.execute(b, context, pairs)
	if !ok {
		return true, false
	}
	run.begin(head, start)
	at := start + duration + run.over.token
	run.firstTokens(head, at)
	if run.active.soonest == run.executed-1 {
		run.lastTokens(at)
	}
	return true, true
}
