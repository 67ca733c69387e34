package sim

// origins makes derivatives forget what a request had no part in. On a server that never idles, the
// exact derivative of a time sums over all steps since the start of the busy period, while in truth
// a longer step also lets more requests join the next one. So each request's derivatives count from
// that of the engine's clock at the moment at which the request was sent; for one that meets a queue
// that moves on only as others leave, at the moment at which that queue formed.
type origins struct {
	since   []timeGrad // per request
	step    timeGrad   // of the time from the start of the step executed last to the next one
	decodes int64      // of that step
	backlog timeGrad   // of the time at which the queue formed
	blocked bool       // a batch has left somebody waiting
	from    float64    // since then; in the unit of the engine's clock
}

// origin is the derivative of the time from which the latencies of request i count: of its sending,
// which exact derivatives take from the caller. nil: zero.
func (g *gradient) origin(i int, sent *timeGrad) *timeGrad {
	if g.renewal != nil {
		return &g.renewal.since[i]
	}
	return sent
}

// composed notes whether a batch, composed at time t, leaves somebody waiting.
func (g *gradient) composed(t float64, waiting bool) {
	if g == nil || g.renewal == nil {
		return
	}
	if !waiting {
		g.renewal.blocked = false
	} else if !g.renewal.blocked {
		g.renewal.block(t, &g.now)
	}
}

func (o *origins) block(t float64, at *timeGrad) { o.blocked, o.from, o.backlog = true, t, *at }

// arrive notes that request i was sent at time a, so much of a step before the next batch was
// composed at time t. Since then back more batches have been, all of which left it waiting; those
// before the last only decoded for the same requests.
func (g *gradient) arrive(i int, t, late float64, back int64) {
	o := g.renewal
	if o.blocked && t > o.from {
		o.since[i] = o.backlog
		return
	}
	s, count := g.now, g.terms.Count
	step := &o.step
	if back > 0 {
		s.subtract(step, float64(back), count)
		step = g.stepBack(&s, back)
		if !o.blocked {
			o.block(t, &s)
		}
	}
	s.subtract(step, late, count)
	o.since[i] = s
}

// stepBack returns the derivative of the step that many before the last, which had shorter contexts,
// and takes what those between had less than the last off s.
func (g *gradient) stepBack(s *timeGrad, back int64) *timeGrad {
	step := g.renewal.step
	if j := g.column[termContext]; j != noColumn {
		s.coeffs[j] += float64(g.renewal.decodes * (back * (back - 1) / 2))
		step.coeffs[j] -= float64(g.renewal.decodes * back)
	}
	return &step
}

// subtract takes n times another derivative off, of so many terms.
func (g *timeGrad) subtract(other *timeGrad, n float64, count int) {
	if n == 0 {
		return
	}
	coeffs := g.coeffs[:count]
	for j, c := range other.coeffs[:len(coeffs)] {
		coeffs[j] -= float64(n * c)
	}
	g.gaps -= float64(n * other.gaps)
	g.tokens -= float64(n * other.tokens)
}
