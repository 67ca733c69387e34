package sim

// admitWhole composes, executes and delivers one batch at once, which synchronous scheduling allows,
// where it prefills whole prompts only. It is the batch that compose and execute would make, without
// the queues between them; most batches that are not skipped are of this kind. done is false, with
// nothing changed, where compose has to do it; ok is false where the run has to be given up.
func (run *v1Leap) admitWhole() (done, ok bool) {
	b := batch{decodes: int64(len(*run.active)), context: run.kv.context(run.composed)}
	budget := run.budget - b.decodes
	first, head, seats := run.head, run.head, run.seats
	for ; head < run.arrived && seats < run.maxSeqs && budget > 0; head++ {
		n := run.input[run.order[head]]
		if n > budget {
			if run.rules.chunked {
				return false, true
			}
			break
		}
		budget -= n
		b.add(n, 0)
		seats++
	}
	if head == first {
		return false, true
	}
	base := run.model.base(&b)
	if !run.inOrder(base, b.context) {
		return true, false
	}
	run.head, run.seats = head, seats
	run.grad.composed(run.clock.now, run.head < run.arrived)
	start := run.clock.step(base, &b)
	if start > run.horizon {
		return true, false
	}
	if run.grad != nil {
		run.grad.elapse(&b, 1)
	}
	run.composed++
	run.executed++
	run.firstTokens(first, start+run.model.duration(base, b.context)+run.over.token)
	return true, true
}

// firstTokens gives the requests admitted from order[first] on their first token, and whoever is due
// the last one.
func (run *v1Leap) firstTokens(first int, at float64) {
	number := run.executed - 1
	single := 0
	for _, request := range run.order[first:run.head] {
		i := int(request)
		run.first(i, at)
		if run.output[i] == 1 {
			single++
			run.held += run.kv.held(run.input[i])
			continue
		}
		run.active.insert(finish{number + run.output[i] - 1, i})
		run.kv.join(run.input[i] - number)
	}
	if single > 0 {
		run.kv.sample(number, run.held)
		for _, request := range run.order[first:run.head] {
			if i := int(request); run.output[i] == 1 {
				run.held -= run.kv.held(run.input[i])
				run.complete(i, at)
			}
		}
	}
	run.lastTokens(at)
	if single > 0 && run.concurrency > 0 {
		run.nextAt = run.nextSend()
	}
}

// lastTokens lets the requests go whose last token the batch executed last has given.
func (run *v1Leap) lastTokens(at float64) {
	number := run.executed - 1
	if len(*run.active) == 0 || run.active.soonest() != number {
		return
	}
	run.kv.sample(number, 0)
	for len(*run.active) > 0 && run.active.soonest() == number {
		i := run.active.pop()
		run.kv.leave(run.input[i] + run.output[i] - 1 - number) // as it joined
		run.complete(i, at)
	}
	if run.concurrency > 0 {
		run.nextAt = run.nextSend()
	}
}
