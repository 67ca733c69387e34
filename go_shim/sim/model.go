package sim

import "math"

// NumQuadratic is how many terms the original experiment has. They come first.
const NumQuadratic = 15

// The terms of the step-time model, in the order of TERMS in pysimbind/models.py. Those of the
// original experiment before the intercept have no name here. To add one, name it before NumTerms, and
// write its feature into plusExtra.
const (
	intercept = NumQuadratic - 1 + iota
	termContext
	termAttention
	termHinge
	termMixed
	termOut // this and the next are the request's, not the step's: see delays
	termPrompt
	NumTerms
)

// hingeTokens is how many tokens of a step the term hinge leaves out.
const hingeTokens = 256

// Order of the overheads.
const (
	scheduleTime = iota
	updateTime
	queueOverhead
	vllmOverhead
	NumOverheads
)

// NumParams is how many parameters there are, of all terms.
const NumParams = NumTerms + NumOverheads

// microsPerSecond converts the model's seconds into ticks.
const microsPerSecond = 1e6

// batch holds what the step-time model sees of a step.
type batch struct {
	shape
	context   int64 // ctx: tokens computed before, of the requests that decode
	attention int64 // attn: pairs of query and key in the prefills
}

// shape is what the original model sees: no more than a processor's registers take.
type shape struct {
	decodes   int64 // D: tokens decoded
	prefill   int64 // P: prefill tokens
	maxChunk  int64 // M: the largest single prefill
	numChunks int64 // N: requests that prefill
}

// add counts a prefill chunk of n tokens that follow so many computed ones.
func (b *batch) add(n, computed int64) {
	b.shape = b.shape.with(n)
	b.attention += attention(n, computed)
}

// with is the shape with another prefill chunk of n tokens. It takes and gives a value, which a
// compiler keeps in registers: what a pointer points to stays in memory.
func (s shape) with(n int64) shape {
	return shape{s.decodes, s.prefill + n, max(s.maxChunk, n), s.numChunks + 1}
}

// attention is the pairs of query and key in a chunk of n tokens that follow so many computed ones.
func attention(n, computed int64) int64 { return n*computed + n*(n+1)/2 }

// onlyDecodes tells whether a batch decodes for so many requests, and does nothing else.
func (s *shape) onlyDecodes(decodes int64) bool { return s.decodes == decodes && s.numChunks == 0 }

// model is the step-time model of a candidate, in µs. What grows from step to step while the same
// requests decode, the term of their contexts, stands apart from the rest, the base.
type model struct {
	c *[NumTerms]float64
	// beyond: plusExtra adds something.
	beyond bool
	// context: there is a term of contexts.
	context bool
}

func newModel(c *[NumTerms]float64) model {
	m := model{c: c, context: c[termContext] != 0}
	for j := NumQuadratic; j < NumTerms; j++ {
		m.beyond = m.beyond || c[j] != 0 && isExtra(j)
	}
	return m
}

// isExtra tells whether plusExtra adds a term.
func isExtra(term int) bool {
	return term >= NumQuadratic && term != termContext && term != termOut && term != termPrompt
}

// base is what a step takes without the term of contexts: the step-time formula. The products are
// summed from left to right and each is rounded by an explicit conversion, which forbids fused
// multiply-add: results have the same bits on every processor.
func (m *model) base(b shape, attention int64) float64 {
	c := m.c
	d, p, x, n := float64(b.decodes), float64(b.prefill), float64(b.maxChunk), float64(b.numChunks)
	s := float64(c[0] * d)
	s += float64(c[1] * p)
	s += float64(c[2] * x)
	s += float64(c[3] * n)
	s += float64(c[4] * float64(d*d))
	s += float64(c[5] * float64(d*p))
	s += float64(c[6] * float64(d*x))
	s += float64(c[7] * float64(d*n))
	s += float64(c[8] * float64(p*p))
	s += float64(c[9] * float64(p*x))
	s += float64(c[10] * float64(p*n))
	s += float64(c[11] * float64(x*x))
	s += float64(c[12] * float64(x*n))
	s += float64(c[13] * float64(n*n))
	s += c[intercept]
	if m.beyond {
		s = plusExtra(s, m.c, b, attention)
	}
	return s * microsPerSecond
}

// plusExtra adds the terms beyond the original ones to a sum of seconds, in their order. Derivatives ask
// it for the features, with coefficients of 1. A feature must stay the same while the same requests
// decode. What only a prefill has stands behind a test for one, which costs decode steps nothing.
func plusExtra(s float64, c *[NumTerms]float64, b shape, attention int64) float64 {
	prefills := b.numChunks > 0
	if prefills {
		s += float64(c[termAttention] * float64(attention))
	}
	s += float64(c[termHinge] * float64(max(0, b.decodes+b.prefill-hingeTokens)))
	if prefills && b.decodes > 0 {
		s += c[termMixed]
	}
	return s
}

// decodeBase is base of a batch without prefill.
func (m *model) decodeBase(decodes int64) float64 {
	s := m.decodeSeconds(decodes)
	if m.beyond {
		s = plusExtra(s, m.c, shape{decodes: decodes}, 0)
	}
	return s * microsPerSecond
}

// decodeSeconds is the part of the original terms: those left out are exact zeros.
func (m *model) decodeSeconds(decodes int64) float64 {
	d := float64(decodes)
	s := float64(m.c[0] * d)
	s += float64(m.c[4] * float64(d*d))
	return s + m.c[intercept]
}

// duration is what a step takes, of its base and the contexts of those who decode.
func (m *model) duration(base float64, context int64) float64 {
	if !m.context {
		return base
	}
	return base + m.slope(context)
}

// slope is what so many tokens of context cost. So much longer is each step than the one before
// while as many requests decode and nothing else happens.
func (m *model) slope(tokens int64) float64 {
	return float64(m.c[termContext]*float64(tokens)) * microsPerSecond
}

// delays are what a candidate adds to the latencies of a request beside the server's time, in µs:
// something for each token that it has been given, and for each token of its prompt. They are the
// request-side terms; their form is that of the alpha coefficients of inference-sim.
type delays struct {
	out, prompt float64
	any         bool
}

func newDelays(c *[NumTerms]float64) delays {
	return delays{
		out: c[termOut] * microsPerSecond, prompt: c[termPrompt] * microsPerSecond,
		any: c[termOut] != 0 || c[termPrompt] != 0,
	}
}

// of is the delay of the last of so many tokens of a request.
func (d *delays) of(tokens, prompt int64) float64 {
	return float64(d.out*float64(tokens)) + float64(d.prompt*float64(prompt))
}

// most bounds the delays of requests that are no longer.
func (d *delays) most(longest tokenCounts) float64 {
	return math.Abs(d.out)*float64(longest.output) + math.Abs(d.prompt)*float64(longest.input)
}

// tokenCounts is how long requests are at most.
type tokenCounts struct{ input, output int64 }

func (c *tokenCounts) include(input, output int64) {
	c.input, c.output = max(c.input, input), max(c.output, output)
}
