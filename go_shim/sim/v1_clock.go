package sim

import "math"

// v1Clock is the engine's time in µs. Equal steps that follow each other are counted, not summed:
// the n-th begins at anchor + n·period. So rounding errors do not pile up, and skipping n steps
// gives the same bits as walking them.
type v1Clock struct {
	now      float64 // the next step begins here
	anchor   float64
	count    int64 // steps since the anchor
	duration float64
	period   float64
}

func newV1Clock() v1Clock { return v1Clock{now: math.Inf(-1), duration: math.NaN()} }

// jump moves an idle engine's clock.
func (c *v1Clock) jump(to float64) {
	c.now = to
	c.duration = math.NaN()
}

// pace sets the length of the next steps, and the time between one's end and the next's start.
func (c *v1Clock) pace(duration, gap float64) {
	if duration != c.duration {
		c.anchor, c.count = c.now, 0
		c.duration, c.period = duration, duration+gap
	}
}

// start is when the n-th step from now would begin, at the present pace.
func (c *v1Clock) start(n int64) float64 {
	return c.anchor + float64(float64(c.count+n)*c.period)
}

// advance runs n steps and returns when the last one began.
func (c *v1Clock) advance(n int64) float64 {
	last := c.start(n - 1)
	c.count += n
	c.now = c.start(0)
	return last
}

// step runs one step at a new pace, or at the old one where that is the same, and returns when it
// began. It does what pace and advance(1) do.
func (c *v1Clock) step(duration, gap float64) float64 {
	if duration == c.duration {
		return c.advance(1)
	}
	start := c.now
	c.anchor, c.count = start, 1
	c.duration, c.period = duration, duration+gap
	c.now = start + c.period
	return start
}

// compositionAfter is when the first batch was composed since time a, which is no earlier than the
// pace at hand, and how many have been composed after it until now.
func (c *v1Clock) compositionAfter(a float64) (back int64, t float64) {
	if c.duration != c.duration || c.period <= 0 {
		return 0, c.now // the engine has just been woken up, or time stands still
	}
	back = max(min(int64((c.now-a)/c.period), c.count-1), 0)
	for back > 0 && c.start(-back) < a {
		back--
	}
	for back+1 < c.count && c.start(-back-1) >= a {
		back++
	}
	return back, c.start(-back)
}

// stepsBefore is how many steps, of at most that many, begin before t. The next one does.
func (c *v1Clock) stepsBefore(t float64, most int64) int64 {
	if c.start(most-1) < t {
		return most
	}
	n := min(max(int64((t-c.now)/c.period), 1), most-1)
	for n > 1 && c.start(n-1) >= t {
		n--
	}
	for n < most && c.start(n) < t {
		n++
	}
	return n
}

// v1Overheads are a candidate's, in µs.
type v1Overheads struct {
	token float64 // vllm + schedule + update: from the end of a step to the token's delivery
	gap   float64 // queue + schedule + update: from the end of a step to the next one
}

func newV1Overheads(o *[NumOverheads]float64) v1Overheads {
	return v1Overheads{
		token: o[vllmOverhead] + o[scheduleTime] + o[updateTime],
		gap:   o[queueOverhead] + o[scheduleTime] + o[updateTime],
	}
}

// durations are the step lengths that check finds in order: at least the first, below the second.
func (o *v1Overheads) durations() (least, below float64) {
	if !(math.Abs(o.gap) < maxStepTicks && math.Abs(o.token) < maxStepTicks) {
		return 0, 0
	}
	return max(0, -o.gap), min(maxStepTicks, maxStepTicks-o.gap)
}

// check refuses step lengths with which the clock would run backwards or lose its precision.
func (o *v1Overheads) check(duration float64) Outcome {
	period := duration + o.gap
	if duration >= 0 && period >= 0 && duration < maxStepTicks && period < maxStepTicks && o.token < maxStepTicks &&
		o.token > -maxStepTicks {
		return OK
	}
	if math.Abs(duration) < maxStepTicks && math.Abs(period) < maxStepTicks && math.Abs(o.token) < maxStepTicks {
		return NegativeStep
	}
	return NonFinite
}
