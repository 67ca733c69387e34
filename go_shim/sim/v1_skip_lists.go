package sim

import "slices"

// seatMoment is something that happens to a running request at some moment.
type seatMoment struct {
	key  int64
	seq  uint32
	seat int32
}

// seatList is sorted by moment, then by the order of admission, the first one last. The order matters,
// and requests are taken out of the middle: a finishWheel would not do.
type seatList []seatMoment

func (m seatMoment) before(o seatMoment) bool {
	return m.key < o.key || m.key == o.key && m.seq < o.seq
}

func (l *seatList) insert(m seatMoment) {
	s := append(*l, m)
	i := len(s) - 1
	for i > 0 && s[i-1].before(m) {
		s[i] = s[i-1]
		i--
	}
	s[i] = m
	*l = s
}

// soonest is the key of the first; the list must not be empty.
func (l seatList) soonest() int64 { return l[len(l)-1].key }

func (l *seatList) pop() seatMoment {
	last := len(*l) - 1
	m := (*l)[last]
	*l = (*l)[:last]
	return m
}

// remove takes a seat off the list, if it is there.
func (l *seatList) remove(at int32) {
	if i := slices.IndexFunc(*l, func(m seatMoment) bool { return m.seat == at }); i >= 0 {
		*l = slices.Delete(*l, i, i+1)
	}
}

// seatQueue is sorted the other way round, the first one first: most of what is put in comes last.
type seatQueue struct {
	items []seatMoment
	head  int
}

func (q *seatQueue) reset() { q.items, q.head = q.items[:0], 0 }

func (q *seatQueue) empty() bool { return q.head == len(q.items) }

// first is the soonest; the queue must not be empty.
func (q *seatQueue) first() seatMoment { return q.items[q.head] }

func (q *seatQueue) insert(m seatMoment) {
	if q.head > len(q.items)/2 { // use the place again
		q.items = q.items[:copy(q.items, q.items[q.head:])]
		q.head = 0
	}
	q.items = append(q.items, m)
	i := len(q.items) - 1
	for i > q.head && m.before(q.items[i-1]) {
		q.items[i] = q.items[i-1]
		i--
	}
	q.items[i] = m
}

func (q *seatQueue) pop() seatMoment {
	q.head++
	return q.items[q.head-1]
}

// remove takes a seat out of the queue, if it is there.
func (q *seatQueue) remove(at int32) {
	for i := q.head; i < len(q.items); i++ {
		if q.items[i].seat == at {
			q.items = slices.Delete(q.items, i, i+1)
			return
		}
	}
}
