package sim

// v1Scheduler is the scheduler's state in one run: rules 1 to 6 and 8 of vLLM's V1 scheduler.
type v1Scheduler struct {
	*v1
	v1Requests
	kv *v1Pool
	// running is in the order of admission.
	running []int

	// computed is the tokens of a request whose KV is computed, batches in flight included.
	computed []int64
	// inFlight is the tokens of a request that composed batches will give: vLLM's placeholders.
	inFlight []int64
	// prefillEnd is how many tokens a request had at its latest admission. Computing these, again
	// after a preemption, is prefill; each token after them is decode.
	prefillEnd []int64
}

// v1Batch is what one step executes. Only its scheduling, not its execution, has happened.
type v1Batch struct {
	composed  float64 // µs
	features  batch
	entries   []v1Entry
	preempted []int
	admitted  int // requests that were in this batch or one before: planned[:admitted]
	running   int // requests with a seat, right after composing
	waiting   int
	kvUsed    int64
}

// v1Entry is a request's share of a batch.
type v1Entry struct {
	request int
	tokens  int64
	hit     int64 // tokens found in the cache, where the request was admitted
	resumed bool  // admitted again after a preemption
	samples bool  // it ends with a new token: its chunk reaches the last token known
}

func newV1Scheduler(v *v1) *v1Scheduler {
	n := v.numRequests
	return &v1Scheduler{
		v1: v, v1Requests: newV1Requests(n), kv: newV1Pool(v),
		computed: make([]int64, n), inFlight: make([]int64, n), prefillEnd: make([]int64, n),
	}
}

// tokens is what is known of request i: its prompt and what was generated.
func (s *v1Scheduler) tokens(i int) int64 { return s.input[i] + int64(s.generated[i]) }

// unfinished counts the requests that the server has.
func (s *v1Scheduler) unfinished() int { return len(s.running) + s.waiting.len() }

// compose schedules one batch: first the running requests, then, if that preempted nobody, the
// waiting ones.
func (s *v1Scheduler) compose(now float64) *v1Batch {
	b := &v1Batch{composed: now}
	threshold := s.threshold
	if int64(s.unfinished()) < s.rules.thresholdFrom {
		threshold = 0 // nobody would profit
	}
	budget := s.runningPass(b, threshold)
	if len(b.preempted) == 0 {
		s.waitingPass(b, threshold, budget)
	}
	for e := range b.entries {
		s.advance(&b.entries[e])
	}
	b.admitted, b.running, b.waiting, b.kvUsed = s.admitted, len(s.running), s.waiting.len(), s.kv.used()
	return b
}

// runningPass schedules running requests in order and returns the budget that is left. Whoever is
// preempted comes after the request at hand, so it is not in the batch yet.
func (s *v1Scheduler) runningPass(b *v1Batch, threshold int64) int64 {
	budget := s.budget
	for at := 0; at < len(s.running) && budget > 0; at++ {
		i := s.running[at]
		n := min(cut(s.remaining(i), threshold), budget, s.maxComputed-s.computed[i])
		if n <= 0 {
			continue
		}
		if !s.makeRoom(i, s.computed[i]+n, b) {
			break
		}
		s.allocate(i, s.computed[i]+n)
		s.schedule(b, v1Entry{request: i, tokens: n})
		budget -= n
	}
	return budget
}

// remaining is how many tokens of a running request can be computed next: the rest of what is
// known, and the token in flight, unless that one is the last.
func (s *v1Scheduler) remaining(i int) int64 {
	flying := s.inFlight[i]
	if flying > 0 && int64(s.generated[i])+flying >= s.output[i] {
		return 0
	}
	return s.tokens(i) + flying - s.computed[i]
}

// cut applies the long-prefill threshold, 0 being none.
func cut(n, threshold int64) int64 {
	if threshold > 0 {
		return min(n, threshold)
	}
	return n
}

// makeRoom preempts from the end of the running list until request i can hold so many tokens; false
// if it had to go itself.
func (s *v1Scheduler) makeRoom(i int, tokens int64, b *v1Batch) bool {
	for s.kv.demand(i, tokens, nil) > s.kv.free {
		last := len(s.running) - 1
		victim := s.running[last]
		s.running = s.running[:last]
		s.preempt(victim)
		b.preempted = append(b.preempted, victim)
		if victim == i {
			return false
		}
	}
	return true
}

// preempt takes everything from a request but its tokens. One in flight is still delivered.
func (s *v1Scheduler) preempt(i int) {
	s.kv.release(i)
	s.computed[i], s.inFlight[i] = 0, 0
	s.v1Requests.preempt(i)
}

// waitingPass admits from the head of the queue while budget, seats and blocks last.
func (s *v1Scheduler) waitingPass(b *v1Batch, threshold, budget int64) {
	for s.waiting.len() > 0 && budget > 0 && int64(len(s.running)) < s.maxSeqs {
		i := s.waiting.front()
		hit := s.kv.hits(i, s.tokens(i))
		found := int64(len(hit)) * s.blockSize
		n := cut(s.tokens(i)-found, threshold)
		if n > budget && !s.rules.chunked {
			return
		}
		n = min(n, budget)
		if !s.admissible(i, found+n, hit) {
			return
		}
		s.waiting.popFront()
		s.kv.admit(i, hit)
		s.computed[i], s.prefillEnd[i] = found, s.tokens(i)
		s.allocate(i, found+n)
		s.running = append(s.running, i)
		resumed := s.admit(i, found)
		s.schedule(b, v1Entry{request: i, tokens: n, hit: found, resumed: resumed})
		budget -= n
	}
}

// admissible tells whether the pool has room for the whole sequence, where that is asked for, and
// for the first tokens of it. The sequence cannot exceed max_model_len: checkPrompts and deliver see
// to that.
func (s *v1Scheduler) admissible(i int, tokens int64, hit []int32) bool {
	room := s.kv.free
	if len(s.running) > 0 {
		room -= s.watermark
	}
	if s.rules.wholeSequence && s.kv.demand(i, s.tokens(i), hit) > room {
		return false
	}
	return s.kv.demand(i, tokens, hit) <= room
}

// allocate takes the blocks for the first tokens of request i and caches at once those that known
// tokens fill, so that a later request of the same batch hits them.
func (s *v1Scheduler) allocate(i int, tokens int64) {
	s.kv.grow(i, tokens)
	s.kv.cache(i, min(tokens, s.tokens(i)))
}

// schedule adds an entry to the batch and its features.
func (s *v1Scheduler) schedule(b *v1Batch, e v1Entry) {
	b.entries = append(b.entries, e)
	computed := s.computed[e.request]
	if computed >= s.prefillEnd[e.request] {
		b.features.decodes++
		b.features.context += computed
		return
	}
	b.features.add(e.tokens, computed)
}

// advance counts an entry as computed before it is, so that the next batch builds on it.
func (s *v1Scheduler) advance(e *v1Entry) {
	i := e.request
	s.computed[i] += e.tokens
	e.samples = s.computed[i] == s.tokens(i)+s.inFlight[i]
	if e.samples {
		s.inFlight[i]++
	}
}

// deliver gives request i the token of an executed batch and tells whether it is the last one.
// Freed at once are its blocks; its seat is free for the next batch that is composed.
func (s *v1Scheduler) deliver(i int) (last bool) {
	s.generated[i]++
	if s.phase[i] == v1Running {
		s.inFlight[i]--
		// Blocks that tokens in flight have filled are cached now that these are known.
		s.kv.cache(i, s.computed[i]-s.inFlight[i])
	}
	if s.tokens(i) < s.maxLen && int64(s.generated[i]) < s.output[i] {
		return false
	}
	if s.phase[i] == v1Running {
		s.kv.release(i)
	} else {
		s.waiting.remove(i) // preempted with its last token in flight
	}
	s.phase[i] = v1Finished
	return true
}

// dropFinished gives the seats of finished requests back.
func (s *v1Scheduler) dropFinished() {
	kept := s.running[:0]
	for _, i := range s.running {
		if s.phase[i] == v1Running {
			kept = append(kept, i)
		}
	}
	s.running = kept
}
