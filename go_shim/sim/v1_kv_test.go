package sim

import "fmt"

// check verifies that every block is free or held, and that the cache finds only cached blocks.
func (k *v1Pool) check() error {
	refs := make([]int32, len(k.blocks))
	for _, held := range k.held {
		for _, id := range held {
			refs[id]++
		}
	}
	free, prev := int64(0), noBlock
	for id := k.head; id != noBlock; id = k.blocks[id].next {
		free++
		if id == unused {
			free += k.usable - int64(len(k.blocks))
		} else if refs[id] != 0 {
			return fmt.Errorf("block %d is free and held by %d", id, refs[id])
		}
		if k.blocks[id].prev != prev {
			return fmt.Errorf("the free list is broken at block %d", id)
		}
		prev = id
	}
	used := int64(0)
	for id, n := range refs {
		if n != k.blocks[id].refs {
			return fmt.Errorf("block %d has %d references, %d holders", id, k.blocks[id].refs, n)
		}
		if n > 0 {
			used++
		}
	}
	if k.tail != prev || free != k.free || used+free != k.usable {
		return fmt.Errorf("%d blocks used, %d in the free list, %d counted of %d", used, free, k.free, k.usable)
	}
	return k.checkCache()
}

func (k *v1Pool) checkCache() error {
	found := 0
	for chain, id := range k.oldest {
		for ; id != noBlock; id = k.blocks[id].younger {
			found++
			if k.blocks[id].chain != chain {
				return fmt.Errorf("block %d is listed under chain %d, holds %d", id, chain, k.blocks[id].chain)
			}
		}
	}
	for id := range k.blocks {
		if k.blocks[id].chain != noChain {
			found--
		}
	}
	if found != 0 {
		return fmt.Errorf("the cache lists %d blocks too many", found)
	}
	return nil
}
