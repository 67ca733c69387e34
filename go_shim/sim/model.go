package sim

// Sizes of the parameter vectors. The order is fixed here and, by name, in pysimbind/parameters.py.
const (
	NumCoeffs    = 15
	NumOverheads = 4
	NumParams    = NumCoeffs + NumOverheads
)

// Order of the overheads.
const (
	scheduleTime = iota
	updateTime
	queueOverhead
	vllmOverhead
)

// intercept is the index of the constant coefficient.
const intercept = NumCoeffs - 1

// microsPerSecond converts the model's seconds into ticks.
const microsPerSecond = 1e6

// batch holds what the step-time model sees of a step.
type batch struct {
	decodes   int64 // D: tokens decoded
	prefill   int64 // P: prefill tokens
	maxChunk  int64 // M: the largest single prefill
	numChunks int64 // N: requests that prefill
}

// add counts a prefill chunk of n tokens.
func (b *batch) add(n int64) {
	b.numChunks++
	b.prefill += n
	b.maxChunk = max(b.maxChunk, n)
}

// stepSeconds evaluates the quadratic model of 15 coefficients. The products are summed from left
// to right and each is rounded by an explicit conversion, which forbids fused multiply-add: results
// have the same bits on every processor.
func stepSeconds(c *[NumCoeffs]float64, b batch) float64 {
	d, p, m, n := float64(b.decodes), float64(b.prefill), float64(b.maxChunk), float64(b.numChunks)
	s := float64(c[0] * d)
	s += float64(c[1] * p)
	s += float64(c[2] * m)
	s += float64(c[3] * n)
	s += float64(c[4] * float64(d*d))
	s += float64(c[5] * float64(d*p))
	s += float64(c[6] * float64(d*m))
	s += float64(c[7] * float64(d*n))
	s += float64(c[8] * float64(p*p))
	s += float64(c[9] * float64(p*m))
	s += float64(c[10] * float64(p*n))
	s += float64(c[11] * float64(m*m))
	s += float64(c[12] * float64(m*n))
	s += float64(c[13] * float64(n*n))
	return s + c[intercept]
}

// decodeSeconds is stepSeconds of a batch without prefill: the terms left out are exact zeros.
func decodeSeconds(c *[NumCoeffs]float64, decodes int64) float64 {
	d := float64(decodes)
	s := float64(c[0] * d)
	s += float64(c[4] * float64(d*d))
	return s + c[intercept]
}
