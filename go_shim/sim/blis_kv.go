package sim

// kvPool is the original's KV block pool, with its habits: cached blocks that lie in the free list
// are not counted as consumed when a prefill is tested, so an allocation can run dry half way and
// keep what it took; a hash entry goes when any block of that hash is evicted. Blocks that were
// never taken are not materialised: they are the head of the free list, in id order.
type kvPool struct {
	blockSize int64
	total     int64
	used      int64
	blocks    []kvBlock
	freed     freeList
	held      [][]int32 // per request, its blocks in order
	prefixes  *prefixTable
	byChain   map[int32]int32 // the block that holds a chain
	changes   int64           // counts every change of state
}

type kvBlock struct {
	size       int64 // tokens in it
	refs       int64
	chain      int32   // its id as a cached block, or foreignChain
	tokens     []int32 // kept only where prefixes may be shared
	prev, next int32   // neighbours in the free list
}

// freeList is the freed blocks, oldest first, linked through the blocks themselves.
type freeList struct{ head, tail int32 }

// uniqueToken stands for an output id that occurs nowhere else.
const uniqueToken int32 = -1

func newKVPool(b *blis) *kvPool {
	return &kvPool{
		blockSize: b.blockSize,
		total:     b.poolBlocks,
		freed:     freeList{noBlock, noBlock},
		held:      make([][]int32, b.numRequests),
		prefixes:  b.prefixes,
		byChain:   make(map[int32]int32),
	}
}

// hits returns the cached blocks that the prompt of request i starts with.
func (k *kvPool) hits(i int) []int32 {
	if k.prefixes == nil {
		return nil
	}
	var hit []int32
	for _, chain := range k.prefixes.prompt[i] {
		block, cached := k.byChain[chain]
		if !cached {
			break
		}
		hit = append(hit, block)
	}
	return hit
}

// prefill gives request i the blocks of its whole prompt, of which hit are cached.
func (k *kvPool) prefill(i int, prompt []int32, length int64, hit []int32) bool {
	needed := (length+k.blockSize-1)/k.blockSize - int64(len(hit))
	if needed > k.total-k.used {
		return false
	}
	held := make([]int32, 0, needed+int64(len(hit)))
	for _, id := range hit {
		k.reuse(id)
		held = append(held, id)
	}
	for n := int64(len(hit)); n*k.blockSize < length; n++ {
		id := k.take()
		if id == noBlock {
			return false
		}
		end := min((n+1)*k.blockSize, length)
		blk := &k.blocks[id]
		blk.size = end - n*k.blockSize
		if k.prefixes != nil {
			blk.tokens = prompt[n*k.blockSize : end : end]
			if blk.size == k.blockSize {
				k.cache(id, k.prefixes.prompt[i][n])
			}
		}
		held = append(held, id)
	}
	k.held[i] = held
	return true
}

// decode finds a slot for one more token of request i.
func (k *kvPool) decode(i int, token int32) bool {
	held := k.held[i]
	if len(held) == 0 {
		return false
	}
	last := held[len(held)-1]
	if k.blocks[last].size == k.blockSize {
		if last = k.take(); last == noBlock {
			return false
		}
		k.held[i] = append(held, last)
		k.store(last, token)
		return true
	}
	k.store(last, token)
	if k.prefixes != nil && k.blocks[last].size == k.blockSize {
		k.cache(last, k.contents(i))
	}
	return true
}

func (k *kvPool) store(id, token int32) {
	blk := &k.blocks[id]
	blk.size++
	if k.prefixes != nil {
		blk.tokens = append(blk.tokens, token)
	}
	k.changes++
}

// contents is the chain of the tokens that the blocks of request i hold, which are not its prefix
// where a token found no slot.
func (k *kvPool) contents(i int) int32 {
	chain := rootChain
	for _, id := range k.held[i] {
		chain = k.prefixes.lookup(chain, k.blocks[id].tokens)
	}
	return chain
}

// release frees the blocks of request i, last to first.
func (k *kvPool) release(i int) {
	held := k.held[i]
	for n := len(held) - 1; n >= 0; n-- {
		blk := &k.blocks[held[n]]
		blk.refs--
		if blk.refs == 0 {
			k.used--
			k.pushFree(held[n])
		}
	}
	k.held[i] = nil
	k.changes++
}

// cache makes a full block findable; a later block of the same chain takes the entry over.
func (k *kvPool) cache(id, chain int32) {
	if chain == foreignChain {
		return
	}
	k.blocks[id].chain = chain
	k.byChain[chain] = id
}

// reuse adds a holder to a cached block.
func (k *kvPool) reuse(id int32) {
	blk := &k.blocks[id]
	if blk.refs == 0 {
		k.unlinkFree(id)
		k.used++
	}
	blk.refs++
	k.changes++
}

// take removes the block at the head of the free list, which drops what it cached.
func (k *kvPool) take() int32 {
	var id int32
	switch {
	case int64(len(k.blocks)) < k.total:
		id = int32(len(k.blocks))
		k.blocks = append(k.blocks, kvBlock{})
	case k.freed.head != noBlock:
		id = k.freed.head
		k.unlinkFree(id)
		if chain := k.blocks[id].chain; chain != foreignChain {
			delete(k.byChain, chain)
		}
	default:
		return noBlock
	}
	k.blocks[id] = kvBlock{refs: 1, chain: foreignChain}
	k.used++
	k.changes++
	return id
}

func (k *kvPool) pushFree(id int32) {
	blk := &k.blocks[id]
	blk.prev, blk.next = k.freed.tail, noBlock
	if k.freed.tail == noBlock {
		k.freed.head = id
	} else {
		k.blocks[k.freed.tail].next = id
	}
	k.freed.tail = id
}

func (k *kvPool) unlinkFree(id int32) {
	blk := &k.blocks[id]
	if blk.prev == noBlock {
		k.freed.head = blk.next
	} else {
		k.blocks[blk.prev].next = blk.next
	}
	if blk.next == noBlock {
		k.freed.tail = blk.prev
	} else {
		k.blocks[blk.next].prev = blk.prev
	}
}
