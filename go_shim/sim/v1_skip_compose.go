package sim

// compose schedules one batch; false if it is empty.
func (run *v1Skip) compose() bool {
	b := &run.pending[run.composed&1]
	*b = v1Share{}
	run.preempted = false
	threshold := run.effectiveThreshold()
	budget, together := run.decodeTogether(b, threshold)
	switch {
	case together:
	case len(run.prefilling) == 0:
		run.decodeWhoStays(b)
	default:
		budget = run.decodeInOrder(b, threshold)
	}
	if !run.preempted {
		run.admitWaiting(b, threshold, budget)
	}
	b.admitted = run.admitted
	run.r.PeakKVBlocks = max(run.r.PeakKVBlocks, run.kv.used())
	run.grad.composed(run.clock.now, run.waiting.len() > 0)
	if b.decodes+b.numChunks == 0 {
		return false
	}
	run.composed++
	run.retire()
	return true
}

// effectiveThreshold is the long-prefill threshold, which is off while nobody would profit.
func (run *v1Skip) effectiveThreshold() int64 {
	if run.live+int64(run.waiting.len()) < run.rules.thresholdFrom {
		return 0
	}
	return run.threshold
}

// decodeTogether is the running pass where blocks last for everybody, so that the order among the
// running requests decides nothing but whose blocks are cached first. It returns the budget that is
// left; false, with nothing done, where they do not.
func (run *v1Skip) decodeTogether(b *v1Share, threshold int64) (int64, bool) {
	decodes := int64(run.active.len())
	budget := run.budget - decodes
	blocks := run.phases[run.takers(run.composed)]
	for _, at := range run.prefilling {
		s := &run.seats[at]
		n := min(run.wants(s, threshold), budget)
		budget -= n
		blocks += run.blocks(s.computed+n) - run.blocks(s.computed)
	}
	if blocks > run.kv.free {
		return 0, false
	}
	b.decodes, b.context, b.samples = decodes, run.context(run.composed), decodes > 0
	run.kv.take(blocks)
	budget = run.budget - decodes
	for _, at := range run.prefilling {
		s := &run.seats[at]
		run.fillInOrder(s.seq)
		if n := min(run.wants(s, threshold), budget); n > 0 {
			run.prefill(b, at, n)
			budget -= n
		}
	}
	run.fillUntil(2 * run.composed)
	run.dropPrefilled()
	return budget, true
}

// wants is how many tokens a running request asks of the batch at hand.
func (run *v1Skip) wants(s *v1Seat, threshold int64) int64 {
	switch s.state {
	case seatDecoding:
		return 1
	case seatPrefilling:
		return max(min(cut(s.end-s.computed, threshold), run.maxComputed-s.computed), 0)
	}
	return 0 // its last token is in flight
}

// decodeWhoStays is the running pass where all decode and blocks do not last. Each of those who begin
// a block takes what is left, then what preempting the last request makes free, until nobody is
// left who needs one. Who has its block is never preempted, as it comes before who lacks one.
func (run *v1Skip) decodeWhoStays(b *v1Share) {
	phase := run.takers(run.composed)
	lack := run.phases[phase]
	for {
		n := min(lack, run.kv.free)
		run.kv.take(n)
		if lack -= n; lack == 0 {
			break
		}
		last := &run.seats[run.back]
		if last.state == seatDecoding && run.place(last.base) == phase {
			lack--
		}
		run.evict(run.back)
	}
	b.decodes, b.context = int64(run.active.len()), run.context(run.composed)
	b.samples = b.decodes > 0
	run.fillUntil(2 * run.composed)
}

// decodeInOrder is the running pass where somebody is in mid-prefill and blocks do not last. It goes as
// the rules state it, request by request: blocks are made free by preempting the last one.
func (run *v1Skip) decodeInOrder(b *v1Share, threshold int64) int64 {
	budget := run.budget
	for at := run.front; at != noSeat; at = run.seats[at].next {
		s := &run.seats[at]
		n := min(run.wants(s, threshold), budget)
		if n <= 0 {
			continue
		}
		computed := run.computed(s)
		if !run.makeRoom(at, run.blocks(computed+n)-run.blocks(computed)) {
			break
		}
		run.fillInOrder(s.seq)
		if s.state == seatDecoding {
			b.decodes++
			b.context += computed
			b.samples = true
		} else {
			run.prefill(b, at, n)
		}
		budget -= n
	}
	run.dropPrefilled()
	return budget
}

// makeRoom takes so many blocks for a running request, and preempts from the end of the running list
// until there are as many; false if it had to go itself.
func (run *v1Skip) makeRoom(at int32, blocks int64) bool {
	for blocks > run.kv.free {
		victim := run.back
		run.evict(victim)
		if victim == at {
			return false
		}
	}
	run.kv.take(blocks)
	return true
}

// prefill gives a request a chunk of n tokens, whose blocks it has, and its first token with the
// last chunk.
func (run *v1Skip) prefill(b *v1Share, at int32, n int64) {
	s := &run.seats[at]
	b.add(n, s.computed)
	s.computed += n
	full := run.full(s.computed)
	for s.step < len(s.path) && int64(s.filled) < full {
		run.fill(s, int32(min(int64(s.path[s.step].to), full)))
	}
	if s.computed == s.end {
		b.samples = true
		run.beginDecoding(at)
	}
}

// dropPrefilled takes those whose prefill ended off the list of prefilling requests.
func (run *v1Skip) dropPrefilled() {
	kept := run.prefilling[:0]
	for _, at := range run.prefilling {
		if run.seats[at].state == seatPrefilling {
			kept = append(kept, at)
		}
	}
	run.prefilling = kept
}

// hopeless tells whether blocks do not last for the head of the queue, whatever it finds in the
// cache: it has to take all that no other request holds, its own from the free list, or what the
// tokens of one batch fill.
func (run *v1Skip) hopeless(budget, threshold int64) bool {
	i := run.waiting.front()
	least := run.blocks(run.input[i] + int64(run.generated[i]))
	if run.caching {
		least -= run.chains.reach(i)
	}
	if !run.rules.wholeSequence {
		least = min(least, run.blocks(cut(budget, threshold)))
	}
	return least > run.room()
}

// room is how many blocks an admission may take.
func (run *v1Skip) room() int64 {
	if run.live > 0 {
		return run.kv.free - run.watermark
	}
	return run.kv.free
}

// judge tells whether the next batch would admit the head of the queue, and with how many tokens.
func (run *v1Skip) judge(budget, threshold int64) (bool, int64) {
	i := run.waiting.front()
	tokens := run.input[i] + int64(run.generated[i])
	h := run.kv.look(i, run.full(tokens-1))
	found := h.blocks() * run.size
	n := cut(tokens-found, threshold)
	if n > budget && !run.rules.chunked {
		return false, 0
	}
	n = min(n, budget)
	whole := found + n
	if run.rules.wholeSequence {
		whole = tokens
	}
	return run.blocks(whole)-h.blocks()+h.unused <= run.room(), n
}

// admitWaiting admits from the head of the queue while budget, seats and blocks last.
func (run *v1Skip) admitWaiting(b *v1Share, threshold, budget int64) {
	for run.waiting.len() > 0 && budget > 0 && run.live < run.maxSeqs {
		if run.hopeless(budget, threshold) {
			return
		}
		admitted, n := run.judge(budget, threshold)
		if !admitted {
			return
		}
		i := run.waiting.front()
		run.waiting.popFront()
		s := run.seatHead(i)
		run.kv.take(run.blocks(s.computed+n) - run.full(s.computed))
		run.prefill(b, run.back, n)
		if s.state == seatPrefilling {
			run.prefilling = append(run.prefilling, run.back)
		}
		budget -= n
	}
}

// seatHead gives request i, which judge looked at, a seat and the blocks that it hits.
func (run *v1Skip) seatHead(i int) *v1Seat {
	s := &run.seats[run.sit(i)]
	s.computed = run.kv.hit.blocks() * run.size
	s.end = run.input[i] + int64(run.generated[i])
	if run.caching {
		s.path = run.chains.path(i)
	}
	s.filled = int32(run.kv.hit.shared)
	for s.step < len(s.path) && s.path[s.step].to <= s.filled {
		s.step++
	}
	s.held = run.kv.claim(s.held[:0])
	run.admit(i, s.computed)
	return s
}
