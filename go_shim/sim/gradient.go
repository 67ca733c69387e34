package sim

// timeGrad is the derivative of an event's time with respect to the parameters, while the order of
// events stays as it is (infinitesimal perturbation analysis: Glasserman 1991; Cassandras and
// Lafortune, ch. 11). Times are sums of step lengths since the start of the busy period, and step
// lengths are linear in the coefficients, so it is a sum of features. The overheads enter only in
// two sums: schedule + update + queue between steps, vllm + schedule + update before a token is out.
type timeGrad struct {
	coeffs [NumCoeffs]float64 // seconds a second of coefficient
	gaps   float64            // how often the time contains queue + schedule + update
	tokens float64            // how often it contains vllm + schedule + update
}

// gradient follows ∂t/∂θ along one run.
type gradient struct {
	now     timeGrad // of the time at which the next step begins
	token   timeGrad // of the delivery of the tokens made last
	renewal *origins // nil: derivatives are exact
}

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
	*g = gradient{}
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

// elapse adds k steps of a batch; token is then that of the last one.
func (g *gradient) elapse(b batch, k int64) {
	var f [NumCoeffs]float64
	b.features(&f)
	n := float64(k)
	for j := range f {
		before := g.now.coeffs[j]
		g.token.coeffs[j] = before + n*f[j]
		g.now.coeffs[j] = before + n*f[j]
	}
	g.token.gaps = g.now.gaps + n - 1
	g.token.tokens = g.now.tokens + 1
	g.now.gaps += n
	if g.renewal != nil {
		g.renewal.step = timeGrad{coeffs: f, gaps: 1}
	}
}

// features writes what the coefficients are multiplied with, in their order.
func (b batch) features(f *[NumCoeffs]float64) {
	d, p, m, n := float64(b.decodes), float64(b.prefill), float64(b.maxChunk), float64(b.numChunks)
	*f = [NumCoeffs]float64{
		d, p, m, n, d * d, d * p, d * m, d * n, p * p, p * m, p * n, m * m, m * n, n * n, 1,
	}
}

// write puts ∂(time − since)/∂θ into row i: seconds per unit of each parameter, overheads in µs.
func (g *timeGrad) write(rows []float64, i int, since *timeGrad) {
	row := rows[i*NumParams : (i+1)*NumParams]
	gaps, tokens := g.gaps, g.tokens
	copy(row, g.coeffs[:])
	if since != nil {
		for j := range since.coeffs {
			row[j] -= since.coeffs[j]
		}
		gaps -= since.gaps
		tokens -= since.tokens
	}
	over := row[NumCoeffs:]
	over[scheduleTime] = (gaps + tokens) / microsPerSecond
	over[updateTime] = (gaps + tokens) / microsPerSecond
	over[queueOverhead] = gaps / microsPerSecond
	over[vllmOverhead] = tokens / microsPerSecond
}
