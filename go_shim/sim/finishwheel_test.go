package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFinishWheelOrder: requests leave by step, however they came, over many turns of the wheel. The
// oracle is a search through all of them.
func TestFinishWheelOrder(t *testing.T) {
	const requests = 50
	rng := rand.New(rand.NewPCG(3, 3))
	for _, steps := range []int64{0, 1, 20, wheelSlots - 2, wheelSlots - 1, wheelSlots, 1_000_000} {
		wheel := newFinishWheel(requests, steps)
		var now int64
		left := map[int]int64{}
		for request := range 3000 {
			for len(left) > 0 && (len(left) == requests || rng.IntN(2) == 0) {
				soonest := minValue(left)
				checkEqual(t, "soonest", soonest, wheel.soonest)
				gone := wheel.pop()
				checkEqual(t, "step", soonest, left[gone])
				delete(left, gone)
				now = soonest
			}
			left[request] = now + rng.Int64N(steps+1)
			wheel.insert(finish{left[request], request})
			checkEqual(t, "size", len(left), int(wheel.size))
		}
	}
}

func minValue(m map[int]int64) int64 {
	least := int64(never)
	for _, v := range m {
		least = min(least, v)
	}
	return least
}

// TestFinishWheelReset: what was left is forgotten, and its nodes can be had again. The oracle is the
// order of the steps.
func TestFinishWheelReset(t *testing.T) {
	steps := []int64{70, 3, 900, 4, 4}
	wheel := newFinishWheel(len(steps), 1000)
	wheel.insert(finish{2, 7})
	wheel.insert(finish{800, 8})
	wheel.reset()
	checkEqual(t, "soonest", int64(never), wheel.soonest)
	for i, step := range steps {
		wheel.insert(finish{step, i})
	}
	var popped []int64
	for wheel.size > 0 {
		popped = append(popped, steps[wheel.pop()])
	}
	checkEqual(t, "steps", slices.SortedFunc(slices.Values(steps), cmp.Compare), popped)
	checkEqual(t, "soonest", int64(never), wheel.soonest)
}
