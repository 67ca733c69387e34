package sim

import "math"

// v1Client sends the requests at their arrival times, and in closed loop no sooner than one of the
// max_concurrency seats is free, as `vllm bench serve --max-concurrency` does with a semaphore:
// first come, first served. A seat is free when the client has the last token.
type v1Client struct {
	*v1
	sent   []float64 // µs, per request; NaN before
	next   int       // the place in order of the next request to send
	freeAt []float64 // µs, per completion in order

	// Where derivatives are wanted in closed loop: those of freeAt, and of sent.
	freeGrad []timeGrad
	sentGrad []*timeGrad
}

func newV1Client(v *v1) *v1Client {
	c := &v1Client{v1: v, sent: make([]float64, v.numRequests)}
	for i := range c.sent {
		c.sent[i] = math.NaN()
	}
	return c
}

// reset prepares another run that sends every request; sent holds old times until it does.
func (c *v1Client) reset() {
	c.next, c.freeAt = 0, c.freeAt[:0]
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
	if c.arrival[c.order[c.next]] >= c.freeAt[seat] {
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
	if c.next == c.numRequests {
		return math.Inf(1)
	}
	at := c.arrival[c.order[c.next]]
	if c.concurrency == 0 || int64(c.next) < c.concurrency {
		return at
	}
	// Request n needs n + 1 - concurrency completions before it.
	seat := c.next - int(c.concurrency)
	if seat >= len(c.freeAt) {
		return math.Inf(1)
	}
	return max(at, c.freeAt[seat])
}

// send sends the next request.
func (c *v1Client) send() int {
	i := int(c.order[c.next])
	c.sent[i] = c.nextSend()
	if c.sentGrad != nil {
		c.sentGrad[i] = c.nextGrad()
	}
	c.next++
	return i
}

// completed notes that a request's last token reaches the client at the given time, of which grad is
// the derivative where those are wanted.
func (c *v1Client) completed(at float64, grad *gradient) {
	if c.concurrency == 0 {
		return
	}
	// A negative overhead must not let a later completion free an earlier seat.
	if n := len(c.freeAt); n > 0 {
		at = max(at, c.freeAt[n-1])
	}
	c.freeAt = append(c.freeAt, at)
	if c.sentGrad != nil {
		c.freeGrad = append(c.freeGrad, grad.token)
	}
}
