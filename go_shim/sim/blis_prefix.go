package sim

// prefixTable gives every distinct chain of full prompt blocks an integer id, once, so that
// simulations hash nothing but the blocks that decoding fills. Two blocks have the same id exactly
// if they hold the same tokens after the same prefix.
type prefixTable struct {
	ids    map[chainKey]int32
	prompt [][]int32 // per request, the ids of its full prompt blocks
}

// chainKey is a block's parent and its tokens, the latter as bytes.
type chainKey struct {
	parent int32
	tokens string
}

const (
	// rootChain is the parent of every first block.
	rootChain int32 = -1
	// foreignChain is a chain that no prompt contains: it can never be hit.
	foreignChain int32 = -2
)

// newPrefixTable returns nil where no prompt can ever hit the cache: every prompt's first block
// differs from the first block of every other prompt-and-output.
func newPrefixTable(prompts, outputs *Ragged, blockSize int64) *prefixTable {
	t := &prefixTable{ids: make(map[chainKey]int32), prompt: make([][]int32, len(prompts.Offsets)-1)}
	for i := range t.prompt {
		parent := rootChain
		for _, block := range fullBlocks(prompts.Row(i), blockSize) {
			key := chainKey{parent, tokenBytes(block)}
			id, known := t.ids[key]
			if !known {
				id = int32(len(t.ids))
				t.ids[key] = id
			}
			t.prompt[i] = append(t.prompt[i], id)
			parent = id
		}
	}
	if !t.shared(prompts, outputs, blockSize) {
		return nil
	}
	return t
}

// shared tells whether some prompt's first block is also the first block of another request.
func (t *prefixTable) shared(prompts, outputs *Ragged, blockSize int64) bool {
	owner := make(map[int32]int)
	for i, chain := range t.prompt {
		if len(chain) == 0 {
			continue
		}
		if _, taken := owner[chain[0]]; taken {
			return true
		}
		owner[chain[0]] = i
	}
	if outputs == nil {
		return false
	}
	for i, chain := range t.prompt {
		if len(chain) > 0 {
			continue
		}
		first := append(prompts.Row(i), outputs.Row(i)...)
		if int64(len(first)) >= blockSize && t.lookup(rootChain, first[:blockSize]) != foreignChain {
			return true
		}
	}
	return false
}

// lookup returns the id of a block after parent, or foreignChain.
func (t *prefixTable) lookup(parent int32, tokens []int32) int32 {
	if parent == foreignChain {
		return foreignChain
	}
	if id, known := t.ids[chainKey{parent, tokenBytes(tokens)}]; known {
		return id
	}
	return foreignChain
}

func fullBlocks(tokens []int32, blockSize int64) [][]int32 {
	var blocks [][]int32
	for ; int64(len(tokens)) >= blockSize; tokens = tokens[blockSize:] {
		blocks = append(blocks, tokens[:blockSize])
	}
	return blocks
}

func tokenBytes(tokens []int32) string {
	b := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		b = append(b, byte(t), byte(t>>8), byte(t>>16), byte(t>>24))
	}
	return string(b)
}
