package sim

// finish is a running request and the number of the step in which it gets its last token. While
// every running request advances in every step, nothing else has to be kept up to date.
type finish struct {
	step    int64
	request int
}

// finishList is sorted by step, the soonest last. A new request tends to outlast those that have run
// for a while, so its place is searched from the front. With the few hundred seats of a server that
// is faster than a heap, whose branches no processor can predict.
type finishList []finish

func (l *finishList) insert(f finish) {
	s := append(*l, f)
	i := 0
	for s[i].step > f.step {
		i++
	}
	copy(s[i+1:], s[i:])
	s[i] = f
	*l = s
}

// soonest is the step in which the next request finishes; the list must not be empty.
func (l finishList) soonest() int64 { return l[len(l)-1].step }

// pop removes a request that finishes soonest.
func (l *finishList) pop() int {
	last := len(*l) - 1
	i := (*l)[last].request
	*l = (*l)[:last]
	return i
}
