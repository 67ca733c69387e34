package sim

import "slices"

// v1Queue is the waiting queue: first in, first out, but preempted requests return to its front.
type v1Queue struct {
	items []int
	head  int
}

func (q *v1Queue) len() int       { return len(q.items) - q.head }
func (q *v1Queue) front() int     { return q.items[q.head] }
func (q *v1Queue) popFront()      { q.head++ }
func (q *v1Queue) pushBack(i int) { q.items = append(q.items, i) }

// pushFront puts back a request that was popped, so there is always a place before the head.
func (q *v1Queue) pushFront(i int) {
	q.head--
	q.items[q.head] = i
}

func (q *v1Queue) remove(i int) {
	at := slices.Index(q.items[q.head:], i) + q.head
	copy(q.items[q.head+1:at+1], q.items[q.head:at])
	q.head++
}
