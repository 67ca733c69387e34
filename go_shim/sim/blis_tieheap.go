package sim

// tieHeap tells which of two simultaneous events, a step and an arrival, the original simulator
// executes first. That depends on where they lie in its binary heap of events, hence on what went
// before; but not on everything. A step that is earlier than all arrivals left rises to the root
// when it is pushed, and popping it puts every event back where it was (given distinct times). So
// it is enough to replay the steps that waited behind an arrival, of which there are no more than
// arrivals, and only when there is a tie to settle.
type tieHeap struct {
	arrival  []int64
	events   []int         // request numbers, or aStep; the layout of the original's heap
	step     int64         // the tick of the step in events, if any
	popped   int           // arrivals that have left events
	waited   []waitingStep // the steps that were not the earliest event, in order
	replayed int           // how many of waited have gone through events
	begun    bool
}

// waitingStep is a step that was pushed when so many arrivals had been executed.
type waitingStep struct {
	tick    int64
	arrived int
}

func newTieHeap(b *blis) tieHeap {
	return tieHeap{
		arrival: b.arrival,
		events:  make([]int, 0, b.numRequests+1),
		waited:  make([]waitingStep, 0, b.numRequests+1),
	}
}

func (h *tieHeap) reset() {
	h.waited, h.replayed, h.begun = h.waited[:0], 0, false
}

// wait notes a step that is pushed while an arrival is due no later, after so many others.
func (h *tieHeap) wait(tick int64, arrived int) {
	h.waited = append(h.waited, waitingStep{tick, arrived})
}

// arrivalFirst replays up to the step noted last, and tells whether the arrival of its tick
// precedes it.
func (h *tieHeap) arrivalFirst() bool {
	if !h.begun {
		h.begun = true
		h.popped = 0
		h.events = h.events[:0]
		for i := range h.arrival {
			h.events = append(h.events, i) // in order of time, so already a heap
		}
	}
	last := aStep
	for ; h.replayed < len(h.waited); h.replayed++ {
		step := h.waited[h.replayed]
		for h.popped < step.arrived {
			h.pop()
			h.popped++
		}
		h.step = step.tick
		h.push(aStep)
		last = aStep
		for event := h.pop(); event != aStep; event = h.pop() {
			h.popped++
			last = event
		}
	}
	return last != aStep && h.arrival[last] == h.step
}

func (h *tieHeap) tick(event int) int64 {
	if event == aStep {
		return h.step
	}
	return h.arrival[event]
}

// push and pop move events as container/heap does.
func (h *tieHeap) push(event int) {
	h.events = append(h.events, event)
	for i := len(h.events) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.events[i], h.events[parent] = h.events[parent], h.events[i]
		i = parent
	}
}

func (h *tieHeap) pop() int {
	n := len(h.events) - 1
	h.events[0], h.events[n] = h.events[n], h.events[0]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			break
		}
		h.events[i], h.events[child] = h.events[child], h.events[i]
		i = child
	}
	event := h.events[n]
	h.events = h.events[:n]
	return event
}

func (h *tieHeap) less(i, j int) bool { return h.tick(h.events[i]) < h.tick(h.events[j]) }
