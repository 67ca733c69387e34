package sim

// prefixHits is what the plain leap engine keeps of the prefix cache. As long as nothing is evicted that
// is looked for, a chain that was computed once is cached from then on, as is every chain before it:
// so one number tells it for each stretch of chains without a fork.
//
// A chain that some request held is certainly cached when request Q asks for it, if the requests
// admitted in between take U - H + 1 blocks at most. U is the blocks of the pool (v1.usable), H the
// most that requests can hold which run together (v1.together). For let k blocks precede the chain's
// block, and let request P be the last one that held it and freed it, when u blocks were in use.
//   - P frees its last block first, so it still has the k blocks. The others that run then hold
//     u - k or more between them. If h is the most that they can hold, they take h - (u - k) at most
//     from then on.
//   - The block is now the last of the U - u free ones. It is evicted when all the others were taken
//     before it: what is freed later lies behind it, or is to be taken before it too.
//   - A block that is taken is for one of those who ran, or for one admitted since. These take A. So
//     the block is evicted only if A + h - (u - k) >= U - u, which is A >= U - h - k.
//   - Q did not run then, for nobody is preempted. It fits beside the others, P having left. It can
//     hold k + 2 blocks or more: those of the chain, and one for a token after them. So
//     h + k + 2 <= H, and the block is evicted only if A >= U - H + 2.
//
// It is certainly cached too if all requests take U + 2 blocks at most in the whole run. To evict one,
// each of the U blocks has to be taken, and this one again: U + 1 times. Q takes 2 blocks or more
// later.
//
// TestV1PrefixSurvives has a case in which U - H + 2 blocks do evict it.
type prefixHits struct {
	cached []int32 // per edge of the chain table, how many of its chains, from the first on
	seen   []int64 // per edge, what taken was when one request last held all of these
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
	blocks, taken := int32(0), h.taken+v1Held(q.input, q.output, run.blockSize)
	to := int32(min(t.sharedBlocks(i), (q.input-1)/run.blockSize))
	for e := t.leaf[i]; e != noEdge; e = t.edges[e].parent {
		start := t.edges[e].start
		if n := min(start+h.cached[e], to); n > start {
			if h.taken-h.seen[e] > run.lasting {
				return false
			}
			if n == start+h.cached[e] {
				h.seen[e] = taken
			}
			blocks = max(blocks, n)
		}
		to = min(to, start)
	}
	h.taken = taken
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
			h.seen[e] = h.taken
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
