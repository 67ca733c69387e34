package sim

// prefixHits is what the plain leap engine keeps of the prefix cache of a pool that never evicts. There
// a chain that was computed once is cached from then on, as is every chain before it: so one number
// tells it for each stretch of chains without a fork.
type prefixHits struct {
	cached []int32 // per edge of the chain table, how many of its chains, from the first on

	// Where the use of blocks is followed:
	follow  bool
	refs    []int32 // per shared chain, how many requests hold the block that is cached
	span    []int32 // per request, of how many leading chains it holds that block
	overlap int64   // such blocks beyond the first holder of each: they are in use once only
}

// sharing tells whether all that requests share is prefixes of their prompts, whose prefills may be
// chunked, and whether the pool has so many blocks, all that are ever taken: none is then evicted.
func (v *v1) sharing(taken int64) bool {
	if !v.caching || !v.chains.anyShared || !v.rules.chunked || taken+v.watermark > v.usable {
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
		refs:   make([]int32, v.chains.numShared),
		span:   make([]int32, v.numRequests),
	}
}

func (h *prefixHits) reset(follow bool) {
	clear(h.cached)
	if h.follow = follow; follow {
		clear(h.refs)
	}
	h.overlap = 0
}

// hit admits a request and returns how many tokens of its prompt are cached, but for the last one.
func (run *v1Leap) hit(q *v1Planned) int64 {
	h, t := run.prefix, run.chains
	i := q.request
	blocks := int32(0)
	to := int32(min(t.sharedBlocks(i), (q.input-1)/run.blockSize))
	for e := t.leaf[i]; e != noEdge; e = t.edges[e].parent {
		start := t.edges[e].start
		if n := min(start+h.cached[e], to); n > start {
			blocks = n
			break
		}
		to = min(to, start)
	}
	if h.follow {
		h.span[i] = 0
		h.hold(t, i, blocks)
	}
	tokens := int64(blocks) * run.blockSize
	if run.r.Cached != nil {
		run.r.Cached[i] = int32(tokens)
	}
	return tokens
}

// cache notes that so many tokens of a request's prompt are computed.
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
			fresh = true
		}
		end = min(end, start)
	}
	if fresh && h.follow {
		h.hold(t, i, to)
	}
}

// hold lets request i hold the cached blocks of its leading chains, up to so many.
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
