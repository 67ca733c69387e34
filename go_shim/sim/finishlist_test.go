package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFinishListOrder: sorted by step whatever the order of insertion, the latest first among equals.
// The oracle is a stable sort.
func TestFinishListOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for size := range 70 {
		var list finishList
		var want []finish
		for request := range size {
			f := finish{rng.Int64N(20), request}
			list.insert(f)
			want = slices.Insert(want, 0, f)
			slices.SortStableFunc(want, func(a, b finish) int { return int(b.step - a.step) })
			checkEqual(t, "list", want, []finish(list))
		}
		for n := size - 1; n >= 0; n-- {
			checkEqual(t, "soonest", want[n].step, list.soonest())
			checkEqual(t, "request", want[n].request, list.pop())
		}
	}
}
