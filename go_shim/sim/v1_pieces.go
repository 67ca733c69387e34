package sim

// v1Hit is what the request at the head of the queue would find in the cache. It is kept until
// something on its path changes, as the same one is asked for again and again while it is refused.
type v1Hit struct {
	request int  // or noRequest
	stale   bool // to be found again
	serial  int32
	path    []chainStep // of the request, in the chain table
	found   []v1Found
	shared  int64 // blocks of these
	parked  int64 // blocks of its own, after all the shared ones
	unused  int64 // how many of all lie in the free list
}

// v1Found is a part of a piece.
type v1Found struct{ piece, from, to int32 }

func (h *v1Hit) blocks() int64 { return h.shared + h.parked }

// look finds the cached blocks that request i starts with, at most this many.
func (k *v1LazyPool) look(i int, most int64) *v1Hit {
	h := &k.hit
	if h.request == i && !h.stale {
		return h
	}
	if h.request != i {
		h.request, h.path = i, nil
		h.serial++
		if k.caching {
			h.path = k.chains.path(i)
		}
		for _, step := range h.path {
			k.watched[step.edge] = h.serial
		}
	}
	h.stale, h.found, h.shared, h.parked, h.unused = false, h.found[:0], 0, 0, 0
	if !k.caching {
		return h
	}
	for _, step := range h.path {
		step.to = int32(min(int64(step.to), most))
		if !k.lookAlong(h, step) {
			return h
		}
	}
	// A request's own blocks are computed before the last token is known, and evicted before those
	// that precede them: where any is left, all of them can be hit.
	if run := k.parked[i]; run != nowhere {
		h.parked = k.nodes[run].count
		h.unused += h.parked
	}
	return h
}

// lookAlong finds the cached blocks of one edge; false if one is missing.
func (k *v1LazyPool) lookAlong(h *v1Hit, step chainStep) bool {
	for int32(h.shared) < step.to {
		from := int32(h.shared)
		id, to := k.find(step, from)
		if id == nowhere {
			return false
		}
		h.found = append(h.found, v1Found{id, from, to})
		h.shared = int64(to)
		if k.nodes[id].refs == 0 {
			h.unused += int64(to - from)
		}
	}
	return true
}

// find returns the oldest piece that covers a block, and up to where it is the oldest.
func (k *v1LazyPool) find(step chainStep, block int32) (id, to int32) {
	to = step.to
	for id = k.oldest[step.edge]; id != nowhere; id = k.nodes[id].younger {
		node := &k.nodes[id]
		if block < node.from {
			to = min(to, node.from)
		} else if block < node.to() {
			return id, min(to, node.to())
		}
	}
	return nowhere, 0
}

// touch notes that what can be hit on an edge has changed.
func (k *v1LazyPool) touch(edge int32) {
	if k.watches(edge) {
		k.hit.stale = true
	}
}

// watches tells whether an edge is on the path of the request that was looked at last.
func (k *v1LazyPool) watches(edge int32) bool { return k.watched[edge] == k.hit.serial }

// claim gives the request that was looked at what was found for it.
func (k *v1LazyPool) claim(held []v1Span) []v1Span {
	h := &k.hit
	for _, f := range h.found {
		id := k.carve(f)
		if k.nodes[id].refs == 0 {
			k.unlink(id)
		}
		k.nodes[id].refs++
		held = append(held, v1Span{id, f.to})
	}
	if h.parked > 0 {
		k.unlink(k.parked[h.request])
		k.drop(k.parked[h.request])
		k.parked[h.request] = nowhere
	}
	k.free -= h.unused
	h.request = noRequest
	return held
}

// carve makes a part of a piece, which may have been split since it was found, one of its own.
func (k *v1LazyPool) carve(f v1Found) int32 {
	id := f.piece
	for k.nodes[id].to() <= f.from {
		id = k.nodes[id].link
	}
	if k.nodes[id].from < f.from {
		id = k.split(id, f.from)
	}
	if f.to < k.nodes[id].to() {
		k.split(id, f.to)
	}
	return id
}

// split cuts a piece in two and returns the second one.
func (k *v1LazyPool) split(id, at int32) int32 {
	end := k.nodes[id]
	end.count -= int64(at - end.from)
	end.from = at
	rest := k.make(end)
	node := &k.nodes[id]
	node.count -= end.count
	node.link, node.younger = rest, rest
	if node.refs == 0 {
		k.insert(rest, node.prev)
	}
	return rest
}

// fill makes blocks in use findable, after all others of their chains. They lengthen what the request
// holds, if nobody else holds that, and if nothing younger has the same chains.
func (k *v1LazyPool) fill(edge, from, to int32, held []v1Span) []v1Span {
	k.touch(edge)
	if n := len(held); n > 0 {
		id := held[n-1].piece
		for k.nodes[id].to() < held[n-1].to {
			id = k.nodes[id].link
		}
		node := &k.nodes[id]
		if node.kind == edge && node.refs == 1 && !k.youngerCovers(id, from, to) {
			node.count += int64(to - from)
			held[n-1].to = to
			return held
		}
	}
	id := k.make(v1Node{kind: edge, refs: 1, from: from, count: int64(to - from)})
	if at := k.oldest[edge]; at == nowhere {
		k.oldest[edge] = id
	} else {
		for k.nodes[at].younger != nowhere {
			at = k.nodes[at].younger
		}
		k.nodes[at].younger = id
	}
	return append(held, v1Span{id, to})
}

func (k *v1LazyPool) youngerCovers(id, from, to int32) bool {
	for id = k.nodes[id].younger; id != nowhere; id = k.nodes[id].younger {
		if k.nodes[id].from < to && from < k.nodes[id].to() {
			return true
		}
	}
	return false
}

// forget takes a piece off its edge.
func (k *v1LazyPool) forget(id int32) {
	younger := k.nodes[id].younger
	at := k.oldest[k.nodes[id].kind]
	if at == id {
		k.oldest[k.nodes[id].kind] = younger
		return
	}
	for k.nodes[at].younger != id {
		at = k.nodes[at].younger
	}
	k.nodes[at].younger = younger
}
