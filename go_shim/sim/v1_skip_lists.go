package sim

import "slices"

// seatMoment is something that happens to a running request at some moment.
type seatMoment struct {
	key  int64
	seq  uint32
	seat int32
}

func (m seatMoment) before(o seatMoment) bool {
	return m.key < o.key || m.key == o.key && m.seq < o.seq
}

// seatHeap gives the soonest moment first, and of several the one that was admitted first. Most of
// what is put in comes late, and is in its place at once.
type seatHeap struct {
	items  []seatMoment
	places []int32 // per seat, where it is
}

func (h *seatHeap) reset() { h.items = h.items[:0] }

func (h *seatHeap) len() int { return len(h.items) }

// soonest is the key of the first; the heap must not be empty.
func (h *seatHeap) soonest() int64 { return h.items[0].key }

func (h *seatHeap) insert(m seatMoment) {
	h.items = append(h.items, m)
	for int(m.seat) >= len(h.places) {
		h.places = append(h.places, 0)
	}
	h.rise(len(h.items)-1, m)
}

func (h *seatHeap) pop() seatMoment {
	m := h.items[0]
	h.remove(m.seat)
	return m
}

// remove takes a seat, which must be there, out of the heap.
func (h *seatHeap) remove(at int32) {
	i, last := int(h.places[at]), len(h.items)-1
	m := h.items[last]
	h.items = h.items[:last]
	switch {
	case i == last:
	case i > 0 && m.before(h.items[(i-1)/2]):
		h.rise(i, m)
	default:
		h.sink(i, m)
	}
}

func (h *seatHeap) put(i int, m seatMoment) {
	h.items[i] = m
	h.places[m.seat] = int32(i)
}

// rise puts a moment in its place, which is i or above.
func (h *seatHeap) rise(i int, m seatMoment) {
	for i > 0 {
		parent := (i - 1) / 2
		if !m.before(h.items[parent]) {
			break
		}
		h.put(i, h.items[parent])
		i = parent
	}
	h.put(i, m)
}

// sink puts a moment in its place, which is i or below.
func (h *seatHeap) sink(i int, m seatMoment) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if child+1 < len(h.items) && h.items[child+1].before(h.items[child]) {
			child++
		}
		if !h.items[child].before(m) {
			break
		}
		h.put(i, h.items[child])
		i = child
	}
	h.put(i, m)
}

// seatQueue is sorted, the soonest first: most of what is put in comes last.
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
