package sim

// prefixHits is what the plain leap engine keeps of the prefix cache. As long as nothing is evicted that
// is looked for, a chain that was computed once is cached from then on, as is every chain before it:
// so one number tells it for each stretch of chains without a fork.
//
// Blocks are freed to the end of the free list, and evicted from its beginning. Requests that run
// together hold at most so many blocks (v1.together); so when one is freed, usable less that many are
// ahead of it, and none of these is taken twice before it. What is taken from a request's admission
// on is at most what those admitted since take, and what was running then had yet to take. So while
// the former is less than usable less twice v1.together, the request's prefix is still cached.
type prefixHits struct {
	cached []int32 // per edge of the chain table, how many of its chains, from the first on
	seen   []int64 // per edge, what taken was when all of these were last found or computed
	taken  int64   // blocks that the requests admitted so far take in all

	// Where the use of blocks is followed:
	follow  bool
	refs    []int32 // per shared chain, how many requests hold the block that is cached
	span    []int32 // per request, of how many leading chains it holds that block
	overlap int64   // such blocks beyond the first holder of each: they are in use once only
}

// sharing tells whether all that requests share is prefixes of their prompts, whose prefills may be
// chunked.
func (v *v1) sharing() bool {
	if !v.caching || !v.chains.anyShared || !v.rules.chunked {
		return false
	}
	for i, n := range v.input {
		if v.chains.sharedBlocks(i)*v.blockSize > n {
			return false
		}
	}
	return true
}

func newPrefixHits(v *v1) prefixHits {
	if !v.shares {
		return prefixHits{}
	}
	return prefixHits{
		cached: make([]int32, len(v.chains.edges)),
		seen:   make([]int64, len(v.chains.edges)),
		refs:   make([]int32, v.chains.numShared),
		span:   make([]int32, v.numRequests),
	}
}

func (h *prefixHits) reset(follow bool) {
	clear(h.cached)
	if h.follow = follow; follow {
		clear(h.refs)
	}
	h.overlap, h.taken = 0, 0
}

// hit admits a request and finds how many tokens of its prompt are done already: those that are cached,
// but for the last one. It is false where that is not certain.
func (run *v1Leap) hit(q *v1Planned) bool {
	h, t := run.prefix, run.chains
	i := q.request
	blocks := int32(0)
	to := int32(min(t.sharedBlocks(i), (q.input-1)/run.blockSize))
	for e := t.leaf[i]; e != noEdge; e = t.edges[e].parent {
		start := t.edges[e].start
		if n := min(start+h.cached[e], to); n > start {
			if h.taken-h.seen[e] >= run.usable-2*run.together {
				return false
			}
			if n == start+h.cached[e] {
				h.seen[e] = h.taken
			}
			blocks = max(blocks, n)
		}
		to = min(to, start)
	}
	h.taken += ceilDiv(q.input+q.output, run.blockSize)
	if h.follow {
		h.span[i] = 0
		h.hold(t, i, blocks)
	}
	run.done = int64(blocks) * run.blockSize
	if run.r.Cached != nil {
		run.r.Cached[i] = int32(run.done)
	}
	return true
}

// cache notes that the first tokens of a request's prompt are computed; done is their number.
func (run *v1Leap) cache(q *v1Planned, done int64) {
	h, t := run.prefix, run.chains
	i := q.request
	to := int32(min(t.sharedBlocks(i), done/run.blockSize))
	end, fresh := to, false
	for e := t.leaf[i]; e != noEdge; e = t.edges[e].parent {
		start := t.edges[e].start
		if n := end - start; n > 0 {
			if n <= h.cached[e] {
				break // as is all before it
			}
			h.cached[e] = n
			h.seen[e] = h.taken
			fresh = true
		}
		end = min(end, start)
	}
	if fresh && h.follow {
		h.hold(t, i, to)
	}
}

// hold lets request i hold the cached blocks of its leading chains. to is their number.
func (h *prefixHits) hold(t *chainTable, i int, to int32) {
	t.stretches(i, h.span[i], to, func(first, last int64) {
		for c := first; c < last; c++ {
			if h.refs[c]++; h.refs[c] > 1 {
				h.overlap++
			}
		}
	})
	h.span[i] = max(h.span[i], to)
}

// drop takes them from a request that has finished.
func (h *prefixHits) drop(t *chainTable, i int) {
	t.stretches(i, 0, h.span[i], func(first, last int64) {
		for c := first; c < last; c++ {
			if h.refs[c]--; h.refs[c] > 0 {
				h.overlap--
			}
		}
	})
}
