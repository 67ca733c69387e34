package sim

import "math"

// v1Clock is the engine's time in µs. Steps of one pace are counted, not summed: of steps that are
// equal but for the contexts of those who decode, each a slope longer than the one before, the n-th
// begins at anchor + n·period + slope·n(n-1)/2. So rounding errors do not pile up, and skipping n
// steps gives the same bits as walking them.
type v1Clock struct {
	model model
	gap   float64 // µs from a step's end to the next one's start

	now    float64 // the next step begins here
	last   float64 // the one before began here
	anchor float64
	count  int64   // steps since the anchor
	base   float64 // of each, see model
	period float64 // of the first
	slope  float64

	decodes, context int64 // of the first, where the model looks at contexts
}

func newV1Clock(m model, gap float64) v1Clock {
	return v1Clock{model: m, gap: gap, now: math.Inf(-1), base: math.NaN()}
}

// jump moves an idle engine's clock.
func (c *v1Clock) jump(to float64) {
	c.now = to
	c.base = math.NaN()
}

// evenPace is pace where the model does not look at contexts.
func (c *v1Clock) evenPace(base float64) {
	if base != c.base {
		c.anchor, c.count = c.now, 0
		c.base, c.period = base, base+c.gap
	}
}

// pace sets the length of the next steps: of a batch that decodes for so many requests, with so many
// tokens of context, and of those after it if they only decode.
func (c *v1Clock) pace(base float64, decodes, context int64) {
	if !c.model.context {
		c.evenPace(base)
		return
	}
	if base != c.base || decodes != c.decodes || context != c.context+c.count*decodes {
		c.anchor, c.count = c.now, 0
		c.base, c.decodes, c.context = base, decodes, context
		c.period = c.model.duration(base, context) + c.gap
		c.slope = c.model.slope(decodes)
	}
}

// start is when the n-th step from now would begin, at the present pace.
func (c *v1Clock) start(n int64) float64 {
	n += c.count
	t := c.anchor + float64(float64(n)*c.period)
	if c.slope != 0 {
		t += float64(float64(n*(n-1)/2) * c.slope)
	}
	return t
}

// advance runs n steps and returns when the last one began.
func (c *v1Clock) advance(n int64) float64 {
	c.last = c.start(n - 1)
	c.count += n
	c.now = c.start(0)
	return c.last
}

// step does what pace and advance(1) do, in fewer operations.
func (c *v1Clock) step(base float64, decodes, context int64) float64 {
	if base == c.base || c.model.context {
		c.pace(base, decodes, context)
		return c.advance(1)
	}
	c.anchor, c.count, c.last = c.now, 1, c.now
	c.base, c.period = base, base+c.gap
	c.now += c.period
	return c.last
}

// periodOf is the time from the n-th step since now to the next one.
func (c *v1Clock) periodOf(n int64) float64 {
	if c.slope == 0 {
		return c.period
	}
	return c.period + float64(float64(c.count+n)*c.slope)
}

// compositionAfter is when the first batch was composed since time a, which is no earlier than the
// pace at hand, and how many have been composed after it until now.
func (c *v1Clock) compositionAfter(a float64) (back int64, t float64) {
	if c.base != c.base || c.period <= 0 && c.slope <= 0 {
		return 0, c.now // the engine has just been woken up, or time stands still
	}
	// seen backwards, steps get longer by -slope
	back = max(stepsWithin(c.now-a, c.periodOf(-1), -c.slope, c.count-1), 0)
	for back > 0 && c.start(-back) < a {
		back--
	}
	for back+1 < c.count && c.start(-back-1) >= a {
		back++
	}
	return back, c.start(-back)
}

// advanceBefore runs the steps, of at most that many, that begin before t, and returns how many they
// are. The next one does. It is stepsBefore and advance, which at an even pace share their work.
func (c *v1Clock) advanceBefore(t float64, most int64) int64 {
	if c.slope != 0 {
		n := c.stepsBefore(t, most)
		c.advance(n)
		return n
	}
	n := most
	if within := (t - c.now) / c.period; within < float64(most) {
		n = max(int64(within)+1, 1)
	}
	last, next := c.start(n-1), c.start(n)
	for n > 1 && last >= t {
		n--
		last, next = c.start(n-1), last
	}
	for n < most && next < t {
		n++
		last, next = next, c.start(n)
	}
	c.count, c.last, c.now = c.count+n, last, next
	return n
}

// stepsBefore is how many steps, of at most that many, begin before t. The next one does.
func (c *v1Clock) stepsBefore(t float64, most int64) int64 {
	if c.start(most-1) < t {
		return most
	}
	n := most
	if c.slope != 0 {
		n = stepsWithin(t-c.now, c.periodOf(0), c.slope, most-1)
	} else if within := (t - c.now) / c.period; within < float64(most) {
		n = int64(within)
	}
	n = max(min(n+1, most), 1)
	for n > 1 && c.start(n-1) >= t {
		n--
	}
	for n < most && c.start(n) < t {
		n++
	}
	return n
}

// stepsWithin is how many steps of at most that many fit into a time, up to rounding: the root of
// n·period + slope·n(n-1)/2 = time, by whichever formula does not cancel.
func stepsWithin(time, period, slope float64, most int64) int64 {
	n := time / period
	if slope != 0 {
		b := period - slope/2
		root := math.Sqrt(max(b*b+2*slope*time, 0))
		if b > 0 {
			n = 2 * time / (b + root)
		} else {
			n = (root - b) / slope
		}
	}
	if n < float64(most) {
		return int64(n)
	}
	return most
}

// v1Overheads are a candidate's, in µs.
type v1Overheads struct {
	// token is vllm + schedule + update: from the end of a step to the token's delivery.
	token float64
	// gap is queue + schedule + update: from the end of a step to the next one.
	gap float64
	// delay is the most that any request's own delay may be.
	delay float64
	// least and below bound the usual lengths of a step, which check accepts.
	least, below float64
}

func newV1Overheads(o *[NumOverheads]float64, delay float64) v1Overheads {
	over := v1Overheads{
		token: o[vllmOverhead] + o[scheduleTime] + o[updateTime],
		gap:   o[queueOverhead] + o[scheduleTime] + o[updateTime],
		delay: delay,
	}
	if math.Abs(over.gap) < maxStepTicks && math.Abs(over.token) < maxStepTicks && delay < maxStepTicks {
		over.least = max(0, -over.gap)
		over.below = min(maxStepTicks, maxStepTicks-over.gap) - 1 // more than the sum is rounded by
	}
	return over
}

// check refuses step lengths with which the clock would run backwards or lose its precision.
func (o *v1Overheads) check(duration float64) Outcome {
	if !(math.Abs(duration) < maxStepTicks && math.Abs(duration+o.gap) < maxStepTicks &&
		math.Abs(o.token) < maxStepTicks && o.delay < maxStepTicks) {
		return NonFinite
	}
	if duration < 0 || duration+o.gap < 0 {
		return NegativeStep
	}
	return OK
}
