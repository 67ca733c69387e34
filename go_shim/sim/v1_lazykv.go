package sim

// v1LazyPool is v1Pool without what nobody can see. Blocks in use that no other request can hit are
// only counted: how many a request holds follows from its tokens. The rest lies in pieces and runs:
//   - A piece is cached blocks in a row on one edge of shared chains, that the same requests hold. If
//     nobody does, they are neighbours in the free list, the last one first.
//   - A run is neighbours in the free list. A parked one is the cached blocks of a preempted request
//     that only this one can hit, the last one first; a dead one can never be hit.
type v1LazyPool struct {
	usable     int64
	free       int64
	caching    bool
	freeToTail bool
	chains     *chainTable

	nodes  []v1Node // the free list is a ring through nodes[nowhere]
	spare  []int32  // nodes to use again
	oldest []int32  // per edge, its pieces: of those that cover a block, the first one is found
	parked []int32  // per request, its run, or nowhere

	hit     v1Hit
	watched []int32 // per edge, the serial number of the latest hit whose path takes it
	walk    []int32
}

// v1Node is a piece or a run.
type v1Node struct {
	kind       int32 // the edge of a piece; or deadRun, or parkedRun
	refs       int32 // of a piece: requests that hold it
	owner      int32 // of a parked run
	from       int32 // of a piece: blocks that precede it in its chain
	count      int64 // blocks
	prev, next int32 // in the free list
	younger    int32 // of a piece: the next one on its edge
	link       int32 // of a piece: what was split off its end
}

func (n *v1Node) to() int32 { return n.from + int32(n.count) }

// v1Span is a request's hold on blocks of one edge: from the beginning of a piece, over those that
// were split off it, up to a number of blocks.
type v1Span struct {
	piece int32
	to    int32
}

const (
	nowhere   int32 = 0
	deadRun   int32 = -1
	parkedRun int32 = -2
)

func newV1LazyPool(v *v1) v1LazyPool {
	k := v1LazyPool{usable: v.usable, caching: v.caching, freeToTail: v.rules.freeToTail, chains: v.chains}
	if v.caching {
		k.oldest = make([]int32, len(v.chains.edges))
		k.watched = make([]int32, len(v.chains.edges))
		k.parked = make([]int32, v.numRequests)
	}
	return k
}

// reset returns to a pool of blocks never taken: one dead run.
func (k *v1LazyPool) reset() {
	k.free = k.usable
	k.hit.request, k.hit.serial = noRequest, 0
	if !k.caching {
		return
	}
	k.nodes, k.spare = append(k.nodes[:0], v1Node{}), k.spare[:0]
	clear(k.oldest)
	clear(k.watched)
	clear(k.parked)
	k.buryAfter(nowhere, k.usable)
}

func (k *v1LazyPool) used() int64 { return k.usable - k.free }

// take removes n blocks from the head of the free list; there must be as many.
func (k *v1LazyPool) take(n int64) {
	k.free -= n
	if !k.caching {
		return
	}
	for n > 0 {
		id := k.nodes[nowhere].next
		node := &k.nodes[id]
		taken := min(n, node.count)
		node.count -= taken
		n -= taken
		if node.kind == parkedRun {
			k.hit.stale = true
		} else if node.kind >= 0 {
			k.touch(node.kind)
		}
		if node.count > 0 {
			return
		}
		if node.kind == parkedRun {
			k.parked[node.owner] = nowhere
		} else if node.kind >= 0 {
			k.forget(id)
		}
		k.unlink(id)
		k.drop(id)
	}
}

// release frees the blocks of a request: the uncached ones, the cached ones that are its own, and those
// of shared chains. A preempted request may come back for its own.
func (k *v1LazyPool) release(i int, uncached, own int64, shared []v1Span, preempted bool) {
	k.free += uncached + own
	if !k.caching {
		return
	}
	if uncached > 0 {
		k.bury(uncached)
	}
	switch {
	case own == 0:
	case preempted:
		k.parked[i] = k.make(v1Node{kind: parkedRun, owner: int32(i), count: own})
		k.append(k.parked[i])
	default:
		k.buryAfter(k.nodes[nowhere].prev, own)
	}
	for n := len(shared) - 1; n >= 0; n-- {
		k.releaseSpan(shared[n])
	}
}

// releaseSpan frees the pieces of a span that nobody else holds, last to first.
func (k *v1LazyPool) releaseSpan(s v1Span) {
	k.walk = k.walk[:0]
	for id := s.piece; ; id = k.nodes[id].link {
		k.walk = append(k.walk, id)
		if k.nodes[id].to() >= s.to {
			break
		}
	}
	for n := len(k.walk) - 1; n >= 0; n-- {
		id := k.walk[n]
		node := &k.nodes[id]
		if node.refs--; node.refs == 0 {
			k.free += node.count
			k.touch(node.kind)
			k.append(id)
		}
	}
}

// bury puts uncached blocks where they belong in the free list.
func (k *v1LazyPool) bury(n int64) {
	head := k.nodes[nowhere].next
	switch {
	case k.freeToTail:
		k.buryAfter(k.nodes[nowhere].prev, n)
	case head != nowhere && k.nodes[head].kind == deadRun:
		k.nodes[head].count += n
	default:
		k.buryAfter(nowhere, n)
	}
}

// buryAfter puts a dead run after a place in the free list, or adds it to the one there.
func (k *v1LazyPool) buryAfter(at int32, n int64) {
	if at != nowhere && k.nodes[at].kind == deadRun {
		k.nodes[at].count += n
	} else if n > 0 {
		k.insert(k.make(v1Node{kind: deadRun, count: n}), at)
	}
}

func (k *v1LazyPool) make(node v1Node) int32 {
	if n := len(k.spare); n > 0 {
		id := k.spare[n-1]
		k.spare = k.spare[:n-1]
		k.nodes[id] = node
		return id
	}
	k.nodes = append(k.nodes, node)
	return int32(len(k.nodes) - 1)
}

func (k *v1LazyPool) drop(id int32) { k.spare = append(k.spare, id) }

func (k *v1LazyPool) append(id int32) { k.insert(id, k.nodes[nowhere].prev) }

func (k *v1LazyPool) insert(id, after int32) {
	next := k.nodes[after].next
	k.nodes[id].prev, k.nodes[id].next = after, next
	k.nodes[after].next = id
	k.nodes[next].prev = id
}

func (k *v1LazyPool) unlink(id int32) {
	prev, next := k.nodes[id].prev, k.nodes[id].next
	k.nodes[prev].next = next
	k.nodes[next].prev = prev
}
