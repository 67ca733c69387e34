package sim

import (
	"math"
	"math/bits"
)

// finish is a running request and the number of the step in which it gets its last token. While
// every running request advances in every step, nothing else has to be kept up to date.
type finish struct {
	step    int64
	request int
}

// A wheel has 64 words of 64 slots, so that two words of bits lead to the next slot in use.
const (
	wheelWords = 64
	wheelSlots = wheelWords * 64
)

// never is later than the step of any finish.
const never = math.MaxInt64

// finishWheel holds the running requests by the steps in which they finish, in slots that steps take
// in turn (a calendar queue: Brown 1988). Inserting and removing take a few instructions, whatever
// the number of requests, and no branch that depends on it: a processor predicts neither a search of
// a sorted list nor the sifting of a heap. A slot is as many steps as it takes for all that may run
// at a time to be within one turn: a single one, unless outputs are very long.
type finishWheel struct {
	soonest int64 // the step in which the next request finishes, or never
	size    int64 // requests
	shift   uint8 // log2 of the steps of a slot

	inUse [wheelWords]uint64 // a bit for each slot
	words uint64             // a bit for each of those that are not 0
	first [wheelSlots]int32  // node of each slot, 0: none
	nodes []finishNode       // the first is not used
	free  int32              // node, 0: none
}

type finishNode struct {
	finish
	next int32 // node of the same slot, or free one; 0: none
}

// newFinishWheel has room for a number of requests at a time. Each must finish within a number of steps
// of its insertion.
func newFinishWheel(requests int, steps int64) finishWheel {
	w := finishWheel{soonest: never, nodes: make([]finishNode, requests+1)}
	for steps>>w.shift >= wheelSlots-1 {
		w.shift++
	}
	w.freeAll()
	return w
}

func (w *finishWheel) freeAll() {
	for i := range w.nodes {
		w.nodes[i].next = int32(i + 1)
	}
	w.nodes[len(w.nodes)-1].next = 0
	w.free = w.nodes[0].next
}

// reset removes what a run that was given up has left.
func (w *finishWheel) reset() {
	if w.size == 0 {
		return
	}
	w.soonest, w.size, w.words = never, 0, 0
	clear(w.inUse[:])
	clear(w.first[:])
	w.freeAll()
}

func (w *finishWheel) slot(step int64) uint { return uint(step>>(w.shift&63)) & (wheelSlots - 1) }

func (w *finishWheel) insert(f finish) {
	slot := w.slot(f.step)
	i := w.free
	node := &w.nodes[i]
	w.free = node.next
	*node = finishNode{f, w.first[slot]}
	w.first[slot] = i
	w.inUse[slot/64] |= 1 << (slot % 64)
	w.words |= 1 << (slot / 64)
	w.size++
	w.soonest = min(w.soonest, f.step)
}

// pop removes a request that finishes soonest; there must be one.
func (w *finishWheel) pop() int {
	slot := w.slot(w.soonest)
	link := &w.first[slot]
	for w.nodes[*link].step != w.soonest {
		link = &w.nodes[*link].next
	}
	i := *link
	node := &w.nodes[i]
	*link, node.next, w.free = node.next, w.free, i
	w.size--
	if w.first[slot] == 0 {
		if w.inUse[slot/64] &^= 1 << (slot % 64); w.inUse[slot/64] == 0 {
			w.words &^= 1 << (slot / 64)
		}
		if w.size == 0 {
			w.soonest = never
			return node.request
		}
		slot = w.slotAfter(slot)
	}
	w.soonest = w.soonestIn(slot)
	return node.request
}

// slotAfter is the next slot in use, in this turn or the next one.
func (w *finishWheel) slotAfter(slot uint) uint {
	word := slot / 64
	if rest := w.inUse[word] >> (slot % 64); rest != 0 {
		return slot + uint(bits.TrailingZeros64(rest))
	}
	words := w.words
	if later := words &^ (2<<word - 1); later != 0 {
		words = later
	}
	word = uint(bits.TrailingZeros64(words)) % wheelWords
	return word*64 + uint(bits.TrailingZeros64(w.inUse[word]))
}

func (w *finishWheel) soonestIn(slot uint) int64 {
	soonest := int64(never)
	for i := w.first[slot]; i != 0; i = w.nodes[i].next {
		soonest = min(soonest, w.nodes[i].step)
	}
	return soonest
}
