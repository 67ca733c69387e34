package sim

// chainTable gives every full block of every request, prompt and output, an integer for its chain:
// the tokens in it after the same prefix. Two blocks have the same number exactly if they have the
// same chain, so that a simulation hashes nothing. Blocks that no other request can have take no
// memory: they are numbered by request and position.
type chainTable struct {
	shared      [][]int32 // per request, the leading chains that another request has too
	private     []int64   // per request, the number of its block 0 if that were private
	anyShared   bool
	numInterned int64
}

// noChain marks a block that is not cached.
const noChain int64 = -1

func newChainTable(w *Workload, output []int64, blockSize int64) *chainTable {
	t := &chainTable{private: make([]int64, len(w.InputTokens))}
	if w.PromptIDs != nil {
		t.intern(w, blockSize)
	}
	next := t.numInterned
	for i := range t.private {
		t.private[i] = next
		next += (w.InputTokens[i] + output[i]) / blockSize
	}
	return t
}

// intern walks the trie of all chains and keeps those that belong to two requests or more. A
// chain's prefix is shared whenever the chain is, so they lead each request.
func (t *chainTable) intern(w *Workload, blockSize int64) {
	ids := make(map[chainKey]int32)
	var owner []int32 // per chain, its only request, or manyOwners
	chains := make([][]int32, len(w.InputTokens))
	for i := range chains {
		parent := rootChain
		for _, block := range fullBlocks(requestIDs(w, i), blockSize) {
			key := chainKey{parent, tokenBytes(block)}
			id, known := ids[key]
			if !known {
				id = int32(len(owner))
				ids[key] = id
				owner = append(owner, int32(i))
			} else if owner[id] != int32(i) {
				owner[id] = manyOwners
				t.anyShared = true
			}
			chains[i] = append(chains[i], id)
			parent = id
		}
	}
	t.numInterned = int64(len(owner))
	t.shared = make([][]int32, len(chains))
	for i, chain := range chains {
		n := 0
		for n < len(chain) && owner[chain[n]] == manyOwners {
			n++
		}
		t.shared[i] = append([]int32(nil), chain[:n]...)
	}
}

const manyOwners int32 = -1

// requestIDs is the prompt, followed by the output where its ids are known.
func requestIDs(w *Workload, i int) []int32 {
	if w.OutputIDs == nil {
		return w.PromptIDs.Row(i)
	}
	return append(w.PromptIDs.Row(i), w.OutputIDs.Row(i)...)
}

// chain is the number of block b of request i, which must be a full one.
func (t *chainTable) chain(i int, b int64) int64 {
	if t.shared != nil && b < int64(len(t.shared[i])) {
		return int64(t.shared[i][b])
	}
	return t.private[i] + b
}
