package sim

// v1Requests is what the reference and the skip engine follow of each request.
type v1Requests struct {
	waiting v1Queue
	phase   []v1Phase
	// generated is how many tokens each request was given. The skip engine keeps it up to date for
	// those that are waiting.
	generated []int32
	// cachedFirst is the prefix hit at the first admission, in tokens; notAdmitted before.
	cachedFirst []int32
	preemptions []int32
	// admitted is how many requests were admitted so far: planned[:admitted].
	admitted int
}

// v1Phase is where a request is.
type v1Phase uint8

const (
	v1Unsent v1Phase = iota
	v1Waiting
	v1Running
	v1Finished
)

// notAdmitted is the prefix hit of a request before its first admission.
const notAdmitted int32 = -1

func newV1Requests(n int) v1Requests {
	q := v1Requests{
		phase: make([]v1Phase, n), generated: make([]int32, n),
		cachedFirst: make([]int32, n), preemptions: make([]int32, n),
	}
	q.reset()
	return q
}

func (q *v1Requests) reset() {
	q.waiting = v1Queue{items: q.waiting.items[:0]}
	q.admitted = 0
	clear(q.phase)
	clear(q.generated)
	clear(q.preemptions)
	for i := range q.cachedFirst {
		q.cachedFirst[i] = notAdmitted
	}
}

// add puts a request that was sent into the queue.
func (q *v1Requests) add(i int) {
	q.phase[i] = v1Waiting
	q.waiting.pushBack(i)
}

// admit notes that a request runs, and what it found in the cache, in tokens. Its first admission is
// no resumption.
func (q *v1Requests) admit(i int, found int64) (resumed bool) {
	q.phase[i] = v1Running
	if q.cachedFirst[i] != notAdmitted {
		return true
	}
	q.cachedFirst[i] = int32(found)
	q.admitted++
	return false
}

// preempt puts a running request back to the front of the queue.
func (q *v1Requests) preempt(i int) {
	q.preemptions[i]++
	q.phase[i] = v1Waiting
	q.waiting.pushFront(i)
}
