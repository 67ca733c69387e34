package sim

// timeGrad is the derivative of an event's time with respect to the parameters, while the order of
// events stays as it is (infinitesimal perturbation analysis: Glasserman 1991; Cassandras and
// Lafortune, ch. 11). Times are sums of step lengths since the start of the busy period, and step
// lengths are linear in the coefficients, so it is a sum of features. The overheads enter only in
// two sums: schedule + update + queue between steps, vllm + schedule + update before a token is out.
type timeGrad struct {
	coeffs [NumTerms]float64 // seconds a second of coefficient: the terms wanted, then nothing
	gaps   float64           // how often the time contains queue + schedule + update
	tokens float64           // how often it contains vllm + schedule + update
}

// gradient follows ∂t/∂θ along one run.
type gradient struct {
	now     timeGrad // of the time at which the next step begins
	token   timeGrad // of the delivery of the tokens made last
	renewal *origins // nil: derivatives are exact

	terms  Terms // that are wanted
	column [NumTerms]int
}

// noColumn stands for a term that is not wanted.
const noColumn = -1

// newGradient prepares the derivatives that r asks for; nil: none. An old one is reused.
func newGradient(r *Result, old *gradient) *gradient {
	if r.JacTTFT == nil {
		return nil
	}
	g := &gradient{}
	if old != nil {
		g = old
	}
	o := g.renewal
	*g = gradient{terms: r.Terms}
	for term := range g.column {
		g.column[term] = noColumn
	}
	for j := range r.Terms.Count {
		g.column[r.Terms.term(j)] = j
	}
	if r.Renewal {
		n := len(r.TTFT)
		if o == nil || len(o.since) != n {
			o = &origins{since: make([]timeGrad, n)}
		}
		*o = origins{since: o.since}
		g.renewal = o
	}
	return g
}

// wantsContext tells whether the contexts of batches have to be known for the derivatives' sake.
func (g *gradient) wantsContext() bool { return g != nil && g.column[termContext] != noColumn }

// jump restarts from a time that the run did not make, or that another event did.
func (g *gradient) jump(to *timeGrad) {
	if to == nil {
		g.now = timeGrad{}
		return
	}
	g.now = *to
}

// elapse adds k steps, of which b is the first; the others follow it with the same requests. token
// is then that of the last one.
func (g *gradient) elapse(b *batch, k int64) {
	f := g.features(b)
	n := float64(k)
	for j := range g.terms.Count {
		t := g.now.coeffs[j] + n*f[j]
		g.token.coeffs[j] = t
		g.now.coeffs[j] = t
	}
	if j := g.column[termContext]; j != noColumn && k > 1 {
		more := float64(b.decodes * (k * (k - 1) / 2))
		g.token.coeffs[j] += more
		g.now.coeffs[j] += more
		f[j] += float64(b.decodes * (k - 1))
	}
	g.token.gaps = g.now.gaps + n - 1
	g.token.tokens = g.now.tokens + 1
	g.now.gaps += n
	if g.renewal != nil {
		g.renewal.step = timeGrad{coeffs: f, gaps: 1}
		g.renewal.decodes = b.decodes
	}
}

// features is what the coefficients wanted are multiplied with, in their order.
func (g *gradient) features(b *batch) [NumTerms]float64 {
	d, p, m, n := float64(b.decodes), float64(b.prefill), float64(b.maxChunk), float64(b.numChunks)
	all := [NumTerms]float64{
		d, p, m, n, d * d, d * p, d * m, d * n, p * p, p * m, p * n, m * m, m * n, n * n, 1,
		float64(b.context), float64(b.attention), float64(b.hinge()), float64(b.mixed()),
	}
	if g.terms.Index == nil {
		return all
	}
	var f [NumTerms]float64
	for j, term := range g.terms.Index {
		f[j] = all[term]
	}
	return f
}

// delivered is the derivative of the moment at which the client has the last of so many tokens of a
// request, made by the step before.
func (g *gradient) delivered(tokens, prompt int64) timeGrad {
	t := g.token
	if j := g.column[termOut]; j != noColumn {
		t.coeffs[j] += float64(tokens)
	}
	if j := g.column[termPrompt]; j != noColumn {
		t.coeffs[j] += float64(prompt)
	}
	return t
}

// write puts the derivatives of the latency of request i, which has now so many tokens, into its row:
// those of delivered minus since, in seconds per unit of each parameter, overheads in µs.
func (g *gradient) write(rows []float64, i int, tokens, prompt int64, since *timeGrad) {
	count := g.terms.Count
	row := rows[i*(count+NumOverheads) : (i+1)*(count+NumOverheads)]
	t := g.delivered(tokens, prompt)
	if since != nil {
		t.subtract(since, 1, count)
	}
	copy(row, t.coeffs[:count])
	over := row[count:]
	over[scheduleTime] = (t.gaps + t.tokens) / microsPerSecond
	over[updateTime] = (t.gaps + t.tokens) / microsPerSecond
	over[queueOverhead] = t.gaps / microsPerSecond
	over[vllmOverhead] = t.tokens / microsPerSecond
}
