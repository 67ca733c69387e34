package sim

import "math/bits"

// divider divides by the block size, which is a power of 2 more often than not.
type divider struct {
	size  int64
	shift int // log2 of size, or -1
}

func newDivider(size int64) divider {
	if size&(size-1) == 0 {
		return divider{size, bits.TrailingZeros64(uint64(size))}
	}
	return divider{size, -1}
}

// split rounds down, for negative numbers too.
func (d divider) split(a int64) (quotient, rest int64) {
	if d.shift >= 0 {
		return a >> d.shift, a & (d.size - 1)
	}
	quotient, rest = a/d.size, a%d.size
	if rest < 0 {
		quotient, rest = quotient-1, rest+d.size
	}
	return quotient, rest
}

// full is how many blocks so many tokens fill.
func (d divider) full(tokens int64) int64 {
	quotient, _ := d.split(tokens)
	return quotient
}

// blocks is how many blocks so many tokens fill or begin.
func (d divider) blocks(tokens int64) int64 { return d.full(tokens + d.size - 1) }

// place is the place of a token in its block.
func (d divider) place(token int64) int64 {
	_, rest := d.split(token)
	return rest
}
