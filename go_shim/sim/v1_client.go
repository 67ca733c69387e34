package sim

import (
	"math"
	"slices"
)

// v1Client sends the requests in closed loop: each at its arrival time, but no sooner than one of the
// max_concurrency seats is free, as `vllm bench serve --max-concurrency` does with a semaphore: first
// come, first served. A seat is free when the client has the last token. In open loop it does nothing.
type v1Client struct {
	*v1
	// sent is when each request was sent, in µs; of one that was not, what a run before has left.
	sent []float64
	// next is the place in planned of the next request to send.
	next int
	// free is the seats that became free, in order; the first ones have been taken.
	free []clientSeat

	// freeGrad is the derivatives of free, where they are wanted.
	freeGrad []timeGrad
	// sentGrad is the derivatives of sent, where they are wanted.
	sentGrad []*timeGrad
}

// clientSeat is one of max_concurrency, free since a request got its last token.
type clientSeat struct {
	at      float64 // µs
	step    int64   // that made the token
	request int
}

func newV1Client(v *v1) v1Client {
	c := v1Client{v1: v}
	if v.concurrency > 0 {
		c.sent = make([]float64, v.numRequests)
	}
	return c
}

// reset prepares another run.
func (c *v1Client) reset() {
	c.next, c.free = 0, c.free[:0]
	c.freeGrad, c.sentGrad = nil, nil
}

// differentiate makes the client keep the derivatives of the times at which it sends.
func (c *v1Client) differentiate() {
	if c.concurrency > 0 {
		c.freeGrad = make([]timeGrad, 0, c.numRequests) // never moves: sentGrad points into it
		c.sentGrad = make([]*timeGrad, c.numRequests)
	}
}

// nextGrad is the derivative of nextSend; nil: zero.
func (c *v1Client) nextGrad() *timeGrad {
	if c.sentGrad == nil || int64(c.next) < c.concurrency {
		return nil
	}
	seat := c.next - int(c.concurrency)
	if c.planned[c.next].arrival >= c.free[seat].at {
		return nil
	}
	return &c.freeGrad[seat]
}

// since is the derivative of the time at which request i was sent; nil: zero.
func (c *v1Client) since(i int) *timeGrad {
	if c.sentGrad == nil {
		return nil
	}
	return c.sentGrad[i]
}

// nextSend is the time of the next request, +Inf while all seats are taken and after the last one.
func (c *v1Client) nextSend() float64 {
	at := c.planned[c.next].arrival
	if c.next == c.numRequests || int64(c.next) < c.concurrency {
		return at
	}
	// Request n needs n + 1 - concurrency completions before it.
	seat := c.next - int(c.concurrency)
	if seat >= len(c.free) {
		return math.Inf(1)
	}
	return max(at, c.free[seat].at)
}

// send sends the next request.
func (c *v1Client) send() {
	i := c.planned[c.next].request
	c.sent[i] = c.nextSend()
	if c.sentGrad != nil {
		c.sentGrad[i] = c.nextGrad()
	}
	c.next++
}

// completed notes that the last token of request i, made in the given step, reaches the client at
// the given time. A request's own delays may make it overtake others. grad is of the token, where
// derivatives are wanted.
func (c *v1Client) completed(i int, step int64, at float64, grad *gradient) {
	seat := clientSeat{at, step, i}
	place := len(c.free)
	for taken := max(c.next-int(c.concurrency), 0); place > taken && seat.before(&c.free[place-1]); place-- {
	}
	c.free = slices.Insert(c.free, place, seat)
	if c.sentGrad != nil {
		c.freeGrad = slices.Insert(c.freeGrad, place, grad.delivered(c.output[i], c.input[i]))
	}
}

// before tells which of two seats is taken first.
func (s *clientSeat) before(o *clientSeat) bool {
	switch {
	case s.at != o.at:
		return s.at < o.at
	case s.step != o.step:
		return s.step < o.step
	}
	return s.request < o.request
}
