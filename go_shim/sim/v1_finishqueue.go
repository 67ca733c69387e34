package sim

// finishQueue is a queue of requests in the order of the steps in which they get a token.
type finishQueue struct {
	items []finish
	head  int
}

func (q *finishQueue) reset() { q.items, q.head = q.items[:0], 0 }

func (q *finishQueue) empty() bool { return q.head == len(q.items) }

func (q *finishQueue) push(f finish) {
	if q.empty() {
		q.reset()
	}
	q.items = append(q.items, f)
}

// next is the step of the first in the queue, or -1.
func (q *finishQueue) next() int64 {
	if q.empty() {
		return -1
	}
	return q.items[q.head].step
}

// pop removes the first, which must exist.
func (q *finishQueue) pop() int {
	q.head++
	return q.items[q.head-1].request
}
