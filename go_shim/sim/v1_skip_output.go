package sim

// The blocks that decoding fills matter where other requests may hit them: a later turn of a
// conversation repeats the output. Each has a moment: 2n is the running pass of batch n, where
// requests are taken in order; 2n+1 the delivery of tokens that follows it.

// fillKey is the moment at which the next block of a shared chain is full of known tokens. With
// asynchronous scheduling the last token of the block is in flight while the next batch is composed,
// and known in the one after that.
func (run *v1Skip) fillKey(s *v1Seat) int64 {
	// the batch that computes its last token
	number := (int64(s.filled)+1)*run.size - s.base - 1
	switch {
	case run.rules.depth == 1:
		return 2 * number
	case number == s.last:
		return 2*number + 3 // no batch comes after: when its token is delivered
	}
	return 2*number + 2
}

func (run *v1Skip) planFill(at int32) {
	if s := &run.seats[at]; s.step < len(s.path) {
		run.fills.insert(seatMoment{run.fillKey(s), s.seq, at})
	}
}

// fillUntil caches every block that is full at a moment.
func (run *v1Skip) fillUntil(key int64) {
	for !run.fills.empty() && run.fills.first().key <= key {
		run.fillNext()
	}
}

// fillInOrder caches the blocks that the running requests up to one fill in the batch at hand.
func (run *v1Skip) fillInOrder(seq uint32) {
	for !run.fills.empty() {
		next := run.fills.first()
		if next.key > 2*run.composed || next.seq > seq {
			return
		}
		run.fillNext()
	}
}

func (run *v1Skip) fillNext() {
	at := run.fills.pop().seat
	s := &run.seats[at]
	run.fill(s, s.filled+1)
	run.planFill(at)
}

// fill caches the next blocks of a request on its path, up to so many.
func (run *v1Skip) fill(s *v1Seat, to int32) {
	s.held = run.kv.fill(s.path[s.step].edge, s.filled, to, s.held)
	if s.filled = to; to == s.path[s.step].to {
		s.step++
	}
}

// deliver hands out the first and last tokens of the batch executed last, at the given time in µs.
func (run *v1Skip) deliver(at float64) {
	number := run.executed - 1
	run.orphans = run.orphans[:0]
	for run.firsts.next() == number {
		i := run.firsts.pop()
		run.first(i, run.input[i], at)
	}
	if run.rules.depth > 1 {
		run.fillUntil(2*number + 3)
	}
	for run.leaving.next() == number {
		run.complete(run.leaving.pop(), at)
	}
}

// complete gives a request its last token. It has a seat, or is named by its complement where it
// was preempted with that token in flight.
func (run *v1Skip) complete(seat int, at float64) {
	i := ^seat
	if seat >= 0 {
		s := &run.seats[seat]
		i = s.request
		run.leave(int32(seat), s.computed, false)
	} else {
		run.waiting.remove(i)
	}
	run.phase[i] = v1Finished
	run.last(i, run.input[i], run.output[i], at)
}

// settle counts the tokens that every request has at the end, those in flight not included.
func (run *v1Skip) settle() {
	for i, phase := range run.phase {
		if phase == v1Finished {
			run.generated[i] = int32(run.output[i])
		}
	}
	for _, i := range run.orphans {
		run.generated[i]--
	}
	for at := run.front; at != noSeat; at = run.seats[at].next {
		s := &run.seats[at]
		if s.state == seatPrefilling {
			continue
		}
		tokens := run.computed(s) - run.input[s.request] + 1
		first := s.end - s.base - 1 // the batch that gave the first token since the admission
		for number := max(run.executed, first); number < min(run.composed, s.last+1); number++ {
			tokens--
		}
		run.generated[s.request] = int32(tokens)
	}
}
