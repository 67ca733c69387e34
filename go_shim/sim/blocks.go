package sim

import "slices"

// noBlock stands for the number of a KV block where there is none.
const noBlock int32 = -1

// ceilDiv is a/b rounded up, of a >= 0 and b > 0: the blocks of size b that a tokens need.
func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// sumLargest adds up the n largest values, which it sorts: what the n hungriest requests hold.
func sumLargest(values []int64, n int) int64 {
	slices.Sort(values)
	var sum int64
	for _, v := range values[len(values)-n:] {
		sum += v
	}
	return sum
}
