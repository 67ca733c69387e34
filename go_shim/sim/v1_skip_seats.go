package sim

// v1Seat is a running request.
type v1Seat struct {
	request    int
	prev, next int32 // the running requests in the order of their admission
	seq        uint32
	state      v1SeatState

	computed int64 // tokens whose KV is computed, batches in flight included; see v1Skip.computed
	end      int64 // tokens at the admission: computing these is prefill
	base     int64 // while decoding: computed minus the number of batches composed
	last     int64 // the batch that gives the last token

	path   []chainStep // the leading blocks that others may hit, if it gets to fill them
	step   int         // where on the path it is
	filled int32       // the blocks of these that are cached
	held   []v1Span    // in these
}

type v1SeatState uint8

const (
	seatPrefilling v1SeatState = iota
	seatDecoding               // every batch gives it a token
	seatLeaving                // its last token is in flight
)

const noSeat int32 = -1

// v1SkipScratch is what a run needs beside its result; it is reused, so that a run allocates nothing.
type v1SkipScratch struct {
	divider // by the block size
	v1Requests
	kv v1LazyPool

	seats       []v1Seat
	vacant      []int32
	front, back int32 // the first and the last of the running requests
	live        int64 // running requests

	prefilling []int32     // in the order of admission
	active     seatHeap    // those that decode, by last batch
	fills      seatQueue   // blocks of shared chains that decoding fills, by moment; see fillKey
	phases     []int64     // requests that decode, by base modulo the block size
	firsts     finishQueue // first tokens in batches not executed
	leaving    finishQueue // last tokens in batches not executed, by seat; see forgetSeat
	orphans    []int       // requests preempted with a token in flight

	common v1RunScratch
	run    v1Skip
}

func newV1SkipScratch(v *v1) *v1SkipScratch {
	return &v1SkipScratch{
		divider: newDivider(v.blockSize), v1Requests: newV1Requests(v.numRequests),
		kv: newV1LazyPool(v), phases: make([]int64, v.blockSize), common: newV1RunScratch(v),
	}
}

func (sc *v1SkipScratch) reset() {
	sc.v1Requests.reset()
	sc.kv.reset()
	sc.vacant = sc.vacant[:0]
	for at := len(sc.seats) - 1; at >= 0; at-- { // as if none had been used yet
		sc.vacant = append(sc.vacant, int32(at))
	}
	sc.front, sc.back, sc.live = noSeat, noSeat, 0
	sc.prefilling = sc.prefilling[:0]
	sc.active.reset()
	sc.fills.reset()
	clear(sc.phases)
	sc.firsts.reset()
	sc.leaving.reset()
	sc.orphans = sc.orphans[:0]
}

// sit gives request i a seat behind all others.
func (run *v1Skip) sit(i int) int32 {
	if len(run.vacant) == 0 {
		run.vacant = append(run.vacant, int32(len(run.seats)))
		run.seats = append(run.seats, v1Seat{})
	}
	at := run.vacant[len(run.vacant)-1]
	run.vacant = run.vacant[:len(run.vacant)-1]
	s := &run.seats[at]
	*s = v1Seat{request: i, prev: run.back, next: noSeat, seq: run.seq, held: s.held}
	run.seq++
	if run.back == noSeat {
		run.front = at
	} else {
		run.seats[run.back].next = at
	}
	run.back = at
	run.live++
	return at
}

// leave frees a seat and its blocks, of which those that so many tokens fill are cached.
func (run *v1Skip) leave(at int32, cached int64, preempted bool) {
	s := &run.seats[at]
	full := run.full(cached)
	run.kv.release(s.request, run.blocks(run.computed(s))-full, full-int64(s.filled), s.held, preempted)
	if s.prev == noSeat {
		run.front = s.next
	} else {
		run.seats[s.prev].next = s.next
	}
	if s.next == noSeat {
		run.back = s.prev
	} else {
		run.seats[s.next].prev = s.prev
	}
	run.vacant = append(run.vacant, at)
	run.live--
}

// computed is how many tokens of a running request are computed in the batches composed so far.
func (run *v1Skip) computed(s *v1Seat) int64 {
	if s.state == seatDecoding {
		return s.base + run.composed
	}
	return s.computed
}

// cached is how many of its computed tokens are known to the cache between two batches. With
// asynchronous scheduling that is one less for one that decodes: its latest token is in flight.
func (run *v1Skip) cached(s *v1Seat) int64 {
	computed := run.computed(s)
	if run.rules.depth == 1 || s.state == seatPrefilling {
		return computed
	}
	return max(s.end, computed-1)
}

// beginDecoding follows a prefill, which gave the first of the tokens still to come.
func (run *v1Skip) beginDecoding(at int32) {
	s := &run.seats[at]
	had := int64(run.generated[s.request])
	if had == 0 {
		run.firsts.push(finish{run.composed, s.request})
	}
	s.state = seatDecoding
	s.base = s.computed - run.composed - 1
	s.last = run.composed + run.output[s.request] - had - 1
	run.phases[run.place(s.base)]++
	run.bases += s.base
	run.active.insert(seatMoment{s.last, s.seq, at})
	run.planFill(at)
}

// retire moves the requests that the batch composed last gives their last token out of the way of
// the next one. They keep their seats and blocks until they have it.
func (run *v1Skip) retire() {
	for run.active.len() > 0 && run.active.soonest() < run.composed {
		at := run.active.pop().seat
		s := &run.seats[at]
		run.phases[run.place(s.base)]--
		run.bases -= s.base
		s.computed = s.base + run.composed
		s.state = seatLeaving
		run.leaving.push(finish{s.last, int(at)})
	}
}

// evict preempts the last running request. It keeps its tokens; one in flight is still delivered.
func (run *v1Skip) evict(at int32) {
	run.preempted = true
	s := &run.seats[at]
	i := s.request
	cached := run.cached(s)
	switch s.state {
	case seatPrefilling:
		run.prefilling = run.prefilling[:len(run.prefilling)-1]
	case seatDecoding:
		run.generated[i] = int32(run.computed(s) - run.input[i] + 1)
		run.phases[run.place(s.base)]--
		run.bases -= s.base
		run.active.remove(at)
	case seatLeaving:
		run.generated[i] = int32(run.output[i])
		run.forgetSeat(at, i)
	}
	if s.state != seatPrefilling {
		run.fills.remove(at)
		if run.composed > run.executed {
			run.orphans = append(run.orphans, i)
		}
	}
	run.leave(at, cached, true)
	run.v1Requests.preempt(i)
}

// forgetSeat names the request instead of its seat where its last token is in flight.
func (run *v1Skip) forgetSeat(at int32, i int) {
	for j := run.leaving.head; j < len(run.leaving.items); j++ {
		if run.leaving.items[j].request == int(at) {
			run.leaving.items[j].request = ^i
		}
	}
}
