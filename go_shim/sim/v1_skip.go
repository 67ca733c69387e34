package sim

import (
	"math"
	"sort"
)

// v1Skip simulates everything that the plain leap engine has no proof for: prefix hits, a pool that
// runs dry, preemption, thresholds. It follows the scheduler's rules batch by batch,
// but
//   - a request that decodes is not touched: it takes a token from every batch that is composed, so
//     its position, its blocks and its last batch follow from the number of batches;
//   - batches that only decode for the same requests are composed and executed at once, up to the
//     next event: a last token, a request sent, a pool that may run dry, a waiting request that may
//     be admitted.
//
// A batch is walked request by request only where it is short of blocks. It is never short of tokens
// for more than the last running request: whoever runs was admitted with the budget that those before
// it left, and none of these ever asks for more again.
type v1Skip struct {
	v1Run
	*v1SkipScratch

	// composed is how many batches were composed: the number of the next one.
	composed int64
	// pending is the batches that are composed and not executed, by number modulo 2.
	pending [2]v1Share
	// bases is the sum over those who decode, see v1Seat.base.
	bases int64
	// preempted tells that the batch at hand preempted a request.
	preempted bool
	// seq numbers the admissions.
	seq uint32
}

// v1Share is a batch.
type v1Share struct {
	batch
	samples  bool // it gives a token
	admitted int  // requests that were in this batch or one before: planned[:admitted]
}

// skippable tells whether runSkip covers the workload and configuration: it does not where its
// table of positions in a block would be large.
func (v *v1) skippable() bool { return v.blockSize <= maxLeapBlock }

// runSkip simulates one candidate.
func (v *v1) runSkip(p *Params, sc *v1SkipScratch, r *Result) {
	r.clear()
	r.Engine = Leap
	sc.reset()
	run := &sc.run
	*run = v1Skip{v1SkipScratch: sc}
	run.start(v, p, r, &sc.common)
	run.loop()
	run.settle()
	run.report(&run.v1Requests)
}

// loop composes up to depth batches ahead and executes the oldest, as the reference engine does.
func (run *v1Skip) loop() {
	for {
		run.receive(&run.v1Requests)
		if run.live > 0 || run.waiting.len() > 0 {
			if k := run.quiet(); k > 0 {
				run.skip(k)
				continue
			}
			if run.compose() && run.composed-run.executed < int64(run.rules.depth) {
				continue
			}
		}
		if run.composed > run.executed {
			if !run.next() {
				return
			}
			continue
		}
		if !run.wait() {
			return
		}
	}
}

// quiet returns how many batches in a row only decode for the requests that run now, beginning with
// the next, and sets the clock's pace to theirs; 0 if the next one has to be composed.
func (run *v1Skip) quiet() int64 {
	decodes := int64(run.active.len())
	if decodes == 0 || decodes != run.live {
		return 0
	}
	if run.rules.depth > 1 && (run.composed == run.executed ||
		!run.pending[run.executed&1].onlyDecodes(decodes)) {
		return 0
	}
	most := run.active.soonest() - run.composed + 1
	most, refused := run.stayRefused(most)
	if !refused {
		return 0
	}
	base, context := run.model.decodeBase(decodes), run.context(run.executed)
	most = run.inOrder(base, context, run.affordable(most, run.kv.free))
	if most == 0 {
		return 0
	}
	run.clock.pace(base, decodes, context)
	if run.clock.start(0) > run.horizon {
		return 0
	}
	if !math.IsInf(run.horizon, 1) {
		most = run.clock.stepsBefore(math.Nextafter(run.horizon, math.Inf(1)), most)
	}
	if run.waiting.len() > 0 || run.live >= run.maxSeqs || run.live >= run.budget {
		return most // whoever is sent meanwhile has to wait
	}
	return run.clock.stepsBefore(run.nextAt, most)
}

// context is how many tokens those who decode have computed before a batch.
func (run *v1Skip) context(number int64) int64 {
	return run.bases + int64(run.active.len())*number
}

// inOrder is how many of at most so many decode batches take a time that check is content with.
func (run *v1Skip) inOrder(base float64, context, most int64) int64 {
	decodes := int64(run.active.len())
	disorder := func(n int) bool {
		return run.over.check(run.model.duration(base, context+int64(n)*decodes)) != OK
	}
	switch {
	case most == 0 || disorder(0):
		return 0
	case !run.model.context || !disorder(int(most-1)):
		return most
	}
	return int64(sort.Search(int(most), disorder))
}

// stayRefused tells whether the head of the queue, if any, is refused by the next batch, and for
// how many batches of at most so many it is sure to be.
//
// While requests only decode, the pool gets emptier, which admits nobody: whoever holds a block
// holds all that precede it, and frees these later, so a hit is evicted after all hits behind it; and
// losing the last hit makes room for one block less where one more is to be computed. Only a
// block of its own prompt that another request fills can change the verdict.
func (run *v1Skip) stayRefused(most int64) (int64, bool) {
	budget := run.budget - int64(run.active.len())
	if run.waiting.len() == 0 || run.live >= run.maxSeqs || budget <= 0 {
		return most, true
	}
	threshold := run.effectiveThreshold()
	if run.hopeless(budget, threshold) {
		return most, true
	}
	if admitted, _ := run.judge(budget, threshold); admitted {
		return 0, false
	}
	for _, m := range run.fills.items[run.fills.head:] {
		k := (m.key+1)>>1 - run.composed // batches that precede it
		if k >= most {
			break
		}
		if s := &run.seats[m.seat]; run.kv.watches(s.path[s.step].edge) {
			return k, k > 0
		}
	}
	return most, true
}

// skip composes and executes k batches at the clock's pace.
func (run *v1Skip) skip(k int64) {
	decodes, context := int64(run.active.len()), run.context(run.executed)
	last := context + (k-1)*decodes
	run.grad.composed(run.clock.now, run.waiting.len() > 0)
	run.kv.take(run.blocksOf(k))
	run.r.PeakKVBlocks = max(run.r.PeakKVBlocks, run.kv.used())
	start := run.clock.advance(k)
	if run.grad != nil {
		run.grad.elapse(&batch{shape: shape{decodes: decodes}, context: context}, k)
	}
	run.composed += k
	run.executed += k
	run.barren = 0
	// the one in flight, where there is one
	run.pending[run.executed&1] = v1Share{batch: batch{shape: shape{decodes: decodes}, context: last + decodes}, samples: true}
	run.fillUntil(2*run.composed - 1)
	run.retire()
	run.deliver(start + run.model.duration(run.clock.base, last) + run.over.token)
}

// affordable is how many of at most so many decode batches take no more than so many blocks.
func (run *v1Skip) affordable(most, blocks int64) int64 {
	decodes := int64(run.active.len())
	if (most/run.size+1)*decodes <= blocks {
		return most
	}
	cycles := min(blocks/decodes, most/run.size)
	blocks -= cycles * decodes
	k := cycles * run.size
	for k < most {
		blocks -= run.phases[run.takers(run.composed+k)]
		if blocks < 0 {
			break
		}
		k++
	}
	return k
}

// blocksOf is how many blocks the next k decode batches take.
func (run *v1Skip) blocksOf(k int64) int64 {
	cycles, rest := run.split(k)
	blocks := cycles * int64(run.active.len())
	for j := range rest {
		blocks += run.phases[run.takers(run.composed+j)]
	}
	return blocks
}

// takers is the phase of the requests that begin a block in a batch.
func (run *v1Skip) takers(number int64) int64 { return run.place(-number) }

// next runs the oldest batch and delivers its tokens; false ends the run.
func (run *v1Skip) next() bool {
	b := &run.pending[run.executed&1]
	start, duration, ok := run.execute(b.shape, b.context, b.attention)
	if !ok {
		return false
	}
	run.begin(b.admitted, start)
	run.deliver(start + duration + run.over.token)
	return run.progresses(b.samples)
}
