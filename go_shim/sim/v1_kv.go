package sim

// v1Pool is vLLM's block pool for one full-attention group. Blocks that were never taken are not
// materialised: in the free list the null block, itself never usable, stands for all of them.
type v1Pool struct {
	blockSize  int64
	usable     int64
	free       int64
	chains     *chainTable // nil: caching is off
	freeToTail bool
	blocks     []v1Block
	head, tail int32
	held       [][]int32 // per request, its blocks in order
	hashed     []int64   // per request, how many of its blocks are cached
	oldest     map[int64]int32
}

type v1Block struct {
	refs       int32
	prev, next int32 // neighbours in the free list
	younger    int32 // the next block cached under the same chain
	chain      int64 // or noChain
}

// unused is the null block: the place in the free list of all blocks never taken so far.
const unused int32 = 0

func newV1Pool(v *v1) *v1Pool {
	k := &v1Pool{
		blockSize: v.blockSize, usable: v.usable, free: v.usable,
		blocks: []v1Block{{prev: noBlock, next: noBlock, chain: noChain}},
		head:   noBlock, tail: noBlock,
		held: make([][]int32, v.numRequests),
	}
	if v.usable > 0 {
		k.head, k.tail = unused, unused
	}
	if v.caching {
		k.chains, k.freeToTail = v.chains, v.rules.freeToTail
		k.hashed = make([]int64, v.numRequests)
		k.oldest = make(map[int64]int32)
	}
	return k
}

func (k *v1Pool) used() int64 { return k.usable - k.free }

// hits returns the cached blocks that request i starts with, which has this many tokens. At least one
// token is left to compute, so a full repeat of aligned blocks computes the last one again.
func (k *v1Pool) hits(i int, tokens int64) []int32 {
	if k.chains == nil {
		return nil
	}
	var hit []int32
	for b := int64(0); b < (tokens-1)/k.blockSize; b++ {
		id, cached := k.oldest[k.chains.chain(i, b)]
		if !cached {
			break
		}
		hit = append(hit, id)
	}
	return hit
}

// demand is how many blocks of the free list request i needs to hold this many tokens, hit included:
// hit blocks that nobody uses lie in the free list too.
func (k *v1Pool) demand(i int, tokens int64, hit []int32) int64 {
	n := ceilDiv(tokens, k.blockSize) - int64(len(k.held[i])) - int64(len(hit))
	n = max(n, 0)
	for _, id := range hit {
		if k.blocks[id].refs == 0 {
			n++
		}
	}
	return n
}

// admit gives request i, which holds nothing, the blocks that it hits.
func (k *v1Pool) admit(i int, hit []int32) {
	for _, id := range hit {
		if k.blocks[id].refs == 0 {
			k.unlink(id)
			k.free--
		}
		k.blocks[id].refs++
		k.held[i] = append(k.held[i], id)
	}
	if k.chains != nil {
		k.hashed[i] = int64(len(hit))
	}
}

// grow takes the blocks that request i lacks to hold this many tokens; demand has checked them.
func (k *v1Pool) grow(i int, tokens int64) {
	for int64(len(k.held[i]))*k.blockSize < tokens {
		k.held[i] = append(k.held[i], k.take())
	}
}

// cache makes those blocks of request i findable that its first tokens fill.
func (k *v1Pool) cache(i int, tokens int64) {
	if k.chains == nil {
		return
	}
	for ; (k.hashed[i]+1)*k.blockSize <= tokens; k.hashed[i]++ {
		id := k.held[i][k.hashed[i]]
		chain := k.chains.chain(i, k.hashed[i])
		k.blocks[id].chain, k.blocks[id].younger = chain, noBlock
		if last, cached := k.oldest[chain]; cached {
			for k.blocks[last].younger != noBlock {
				last = k.blocks[last].younger
			}
			k.blocks[last].younger = id
		} else {
			k.oldest[chain] = id
		}
	}
}

// release frees the blocks of request i, last to first: the cached ones go to the tail of the free
// list, where they live longest; the others go to its head, in the same order.
func (k *v1Pool) release(i int) {
	held := k.held[i]
	after := noBlock
	for n := len(held) - 1; n >= 0; n-- {
		id := held[n]
		k.blocks[id].refs--
		if k.blocks[id].refs > 0 {
			continue
		}
		k.free++
		if k.freeToTail || k.blocks[id].chain != noChain {
			k.insert(id, k.tail)
		} else {
			k.insert(id, after)
			after = id
		}
	}
	k.held[i] = held[:0]
	if k.chains != nil {
		k.hashed[i] = 0
	}
}

// take removes the block at the head of the free list, which must not be empty.
func (k *v1Pool) take() int32 {
	id := k.head
	if id == unused {
		id = int32(len(k.blocks))
		k.blocks = append(k.blocks, v1Block{})
		if int64(id) == k.usable {
			k.unlink(unused)
		}
	} else {
		k.unlink(id)
		k.evict(id)
	}
	k.blocks[id] = v1Block{refs: 1, chain: noChain}
	k.free--
	return id
}

// evict drops a block from the cache; others of the same chain stay.
func (k *v1Pool) evict(id int32) {
	chain, younger := k.blocks[id].chain, k.blocks[id].younger
	if chain == noChain {
		return
	}
	at := k.oldest[chain]
	switch {
	case at != id:
		for k.blocks[at].younger != id {
			at = k.blocks[at].younger
		}
		k.blocks[at].younger = younger
	case younger == noBlock:
		delete(k.oldest, chain)
	default:
		k.oldest[chain] = younger
	}
}

// insert puts a block into the free list after another, or at the head after noBlock.
func (k *v1Pool) insert(id, after int32) {
	next := k.head
	if after != noBlock {
		next = k.blocks[after].next
		k.blocks[after].next = id
	} else {
		k.head = id
	}
	k.blocks[id].prev, k.blocks[id].next = after, next
	if next != noBlock {
		k.blocks[next].prev = id
	} else {
		k.tail = id
	}
}

func (k *v1Pool) unlink(id int32) {
	prev, next := k.blocks[id].prev, k.blocks[id].next
	if prev != noBlock {
		k.blocks[prev].next = next
	} else {
		k.head = next
	}
	if next != noBlock {
		k.blocks[next].prev = prev
	} else {
		k.tail = prev
	}
}
