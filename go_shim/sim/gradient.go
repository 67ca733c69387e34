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
	renewal *origins // nil: derivatives are exact

	// Of the delivery of the tokens made last; until now jumps, its coefficients are those of now.
	tokenGaps, tokens float64

	// terms are those that are wanted.
	terms Terms
	// column is the place of each term among these, or noColumn.
	column [NumTerms]int
	// beyond: there is one that the original model lacks.
	beyond bool
}

// noColumn stands for a term that is not wanted.
const noColumn = -1

// newGradient prepares the derivatives that r asks for; nil: none. An old one is reused.
func newGradient(r *Result, old *gradient) *gradient {
	if r.JacTTFT == nil {
		return nil
	}
	g := old
	if g == nil {
		g = new(gradient)
	}
	o := g.renewal
	*g = gradient{terms: r.Terms}
	for term := range g.column {
		g.column[term] = noColumn
	}
	for j := range r.Terms.Count {
		term := r.Terms.term(j)
		g.column[term] = j
		g.beyond = g.beyond || term >= NumQuadratic
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

// jump restarts from a time that the run did not make, or that another event did.
func (g *gradient) jump(to *timeGrad) {
	if to == nil {
		g.now = timeGrad{}
		return
	}
	g.now = *to
}

// elapse adds k steps, of which b is the first; the others follow it with the same requests.
func (g *gradient) elapse(b *batch, k int64) {
	var f [NumTerms]float64
	g.features(b, &f)
	n := float64(k)
	now := g.now.coeffs[:g.terms.Count]
	for j, feature := range f[:len(now)] {
		now[j] += n * feature
	}
	if j := g.column[termContext]; j != noColumn && k > 1 {
		g.now.coeffs[j] += float64(b.decodes * (k * (k - 1) / 2))
		f[j] += float64(b.decodes * (k - 1))
	}
	g.tokenGaps, g.tokens = g.now.gaps+n-1, g.now.tokens+1
	g.now.gaps += n
	if g.renewal != nil {
		g.renewal.step = timeGrad{coeffs: f, gaps: 1}
		g.renewal.decodes = b.decodes
	}
}

// unit has the candidates of which one coefficient is 1 and all others are 0.
var unit = func() (u [NumTerms][NumTerms]float64) {
	for term := range u {
		u[term][term] = 1
	}
	return u
}()

// features writes what the coefficients wanted are multiplied with, in their order.
func (g *gradient) features(b *batch, f *[NumTerms]float64) {
	d, p, m, n := float64(b.decodes), float64(b.prefill), float64(b.maxChunk), float64(b.numChunks)
	*f = [NumTerms]float64{
		d, p, m, n, d * d, d * p, d * m, d * n, p * p, p * m, p * n, m * m, m * n, n * n, 1,
	}
	if g.beyond {
		f[termContext] = float64(b.context)
		for term := NumQuadratic; term < NumTerms; term++ {
			if g.column[term] != noColumn && isExtra(term) {
				f[term] = plusExtra(0, &unit[term], b.shape, b.attention)
			}
		}
	}
	if g.terms.Index == nil {
		return
	}
	all := *f
	for j, term := range g.terms.Index {
		f[j] = all[term]
	}
}

// delivered is the derivative of the moment at which the client has the last of so many tokens of a
// request, made by the step before.
func (g *gradient) delivered(tokens, prompt int64) timeGrad {
	t := g.now
	t.gaps, t.tokens = g.tokenGaps, g.tokens
	g.addDelay(t.coeffs[:], tokens, prompt)
	return t
}

// addDelay adds a request's own features to the step's.
func (g *gradient) addDelay(coeffs []float64, tokens, prompt int64) {
	if j := g.column[termOut]; j != noColumn {
		coeffs[j] += float64(tokens)
	}
	if j := g.column[termPrompt]; j != noColumn {
		coeffs[j] += float64(prompt)
	}
}

// write puts the derivatives of the latency of request i, which has now so many tokens, into its row:
// those of delivered minus since, in seconds per unit of each parameter, overheads in µs.
func (g *gradient) write(rows []float64, i int, tokens, prompt int64, since *timeGrad) {
	count := g.terms.Count
	row := rows[i*(count+NumOverheads) : (i+1)*(count+NumOverheads)]
	copy(row, g.now.coeffs[:count])
	g.addDelay(row, tokens, prompt)
	gaps, made := g.tokenGaps, g.tokens
	if since != nil {
		for j, s := range since.coeffs[:count] {
			row[j] -= s
		}
		gaps -= since.gaps
		made -= since.tokens
	}
	over := row[count : count+NumOverheads]
	over[scheduleTime] = (gaps + made) / microsPerSecond
	over[updateTime] = (gaps + made) / microsPerSecond
	over[queueOverhead] = gaps / microsPerSecond
	over[vllmOverhead] = made / microsPerSecond
}
