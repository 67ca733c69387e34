package sim

import "slices"

// chainTable gives every full block of every request, prompt and output, an integer for its chain:
// the tokens in it after the same prefix. Two blocks have the same number exactly if they have the
// same chain, so that a simulation hashes nothing. Chains that two requests or more have are
// numbered densely from 0; the others only by request and position, after these. A chain's prefix
// is shared whenever the chain is, so the shared ones lead each request.
//
// The shared chains form a forest, kept as one edge per stretch without a fork: its size follows
// the number of requests, not of tokens.
type chainTable struct {
	edges     []chainEdge
	leaf      []int32 // per request, the edge that its last shared chain is on, or noEdge
	depth     []int32 // per request, how many shared chains it has
	private   []int64 // per request, the number of its block 0 if that were private
	steps     []chainStep
	begin     []int32 // per request, its first step; and the end
	numShared int64
	anyShared bool
}

// chainEdge is a stretch of chains, each the parent of the next.
type chainEdge struct {
	parent int32 // or noEdge
	start  int32 // blocks before the first chain
	first  int64 // number of the first chain
}

const noEdge int32 = -1

// noChain marks a block that is not cached.
const noChain int64 = -1

func newChainTable(w *Workload, output []int64, blockSize int64) *chainTable {
	t := &chainTable{private: make([]int64, len(w.InputTokens))}
	if w.PromptIDs != nil {
		t.intern(w, blockSize)
		t.layPaths(w, output, blockSize)
	}
	t.anyShared = t.numShared > 0
	next := t.numShared
	for i := range t.private {
		t.private[i] = next
		next += (w.InputTokens[i] + output[i]) / blockSize
	}
	return t
}

// chain is the number of block b of request i, which must be a full one.
func (t *chainTable) chain(i int, b int64) int64 {
	if b >= t.sharedBlocks(i) {
		return t.private[i] + b
	}
	e := t.leaf[i]
	for b < int64(t.edges[e].start) {
		e = t.edges[e].parent
	}
	return t.edges[e].first + b - int64(t.edges[e].start)
}

// sharedBlocks is how many leading chains request i shares with others.
func (t *chainTable) sharedBlocks(i int) int64 {
	if t.leaf == nil {
		return 0
	}
	return int64(t.depth[i])
}

// chainStep is the way of a request along an edge: up to a number of blocks.
type chainStep struct {
	edge int32
	to   int32
}

// stretches visits the shared chains of blocks from to to-1 of request i, one edge at a time.
func (t *chainTable) stretches(i int, from, to int32, visit func(first, last int64)) {
	for e := t.leaf[i]; e != noEdge && from < to; e = t.edges[e].parent {
		edge := &t.edges[e]
		if begin := max(from, edge.start); begin < to {
			visit(edge.first+int64(begin-edge.start), edge.first+int64(to-edge.start))
			to = begin
		}
	}
}

// path is the way of request i, to the last block that it can fill.
func (t *chainTable) path(i int) []chainStep {
	if t.steps == nil {
		return nil
	}
	return t.steps[t.begin[i]:t.begin[i+1]]
}

// reach is how many blocks of request i another one can hold.
func (t *chainTable) reach(i int) int64 {
	path := t.path(i)
	if len(path) == 0 {
		return 0
	}
	return int64(path[len(path)-1].to)
}

// layPaths lists every request's way. Its last token is never computed, nor a block that ends there
// filled.
func (t *chainTable) layPaths(w *Workload, output []int64, blockSize int64) {
	t.begin = make([]int32, 1, len(output)+1)
	for i, input := range w.InputTokens {
		to := min(t.depth[i], int32((input+output[i]-1)/blockSize))
		for e := t.leaf[i]; e != noEdge; e = t.edges[e].parent {
			if start := t.edges[e].start; start < to {
				t.steps = append(t.steps, chainStep{e, to})
				to = start
			}
		}
		slices.Reverse(t.steps[t.begin[i]:])
		t.begin = append(t.begin, int32(len(t.steps)))
	}
}

// chainGroup is two requests or more, order[from:to], and how many blocks they share.
type chainGroup struct {
	from, to, shared int
	edge             int32 // the last one that they share, or noEdge
}

// chainInterner splits groups of requests block by block, until each is alone.
type chainInterner struct {
	*chainTable
	w         *Workload
	blockSize int64
	order     []int32
	groups    []chainGroup
	a, b      []int32 // blocks that span prompt and output
}

func (t *chainTable) intern(w *Workload, blockSize int64) {
	n := len(w.InputTokens)
	t.leaf, t.depth = make([]int32, n), make([]int32, n)
	in := &chainInterner{chainTable: t, w: w, blockSize: blockSize, order: make([]int32, n)}
	for i := range in.order {
		in.order[i], t.leaf[i] = int32(i), noEdge
	}
	all := chainGroup{0, n, 0, noEdge}
	all.from = in.dropEnded(all)
	in.groups = append(in.groups, all)
	for len(in.groups) > 0 {
		last := len(in.groups) - 1
		g := in.groups[last]
		in.groups = in.groups[:last]
		in.split(g)
	}
}

// split parts a group whose requests do not agree on the next block, which all of them have.
func (in *chainInterner) split(g chainGroup) {
	members := in.order[g.from:g.to]
	slices.SortFunc(members, func(x, y int32) int { return in.compare(x, y, g.shared) })
	for from := g.from; from < g.to; {
		to := from + 1
		for to < g.to && in.compare(in.order[from], in.order[to], g.shared) == 0 {
			to++
		}
		in.branch(g, from, to)
		from = to
	}
}

// branch opens an edge for those of a group that agree on the next block. Its chains are numbered
// without gaps, because it is followed to its end before another one is opened.
func (in *chainInterner) branch(g chainGroup, from, to int) {
	if to-from < 2 {
		in.end(from, to, g)
		return
	}
	edge := int32(len(in.edges))
	in.edges = append(in.edges, chainEdge{parent: g.edge, start: int32(g.shared), first: in.numShared})
	in.numShared++
	child := in.follow(chainGroup{from, to, g.shared + 1, edge})
	if child.to-child.from > 1 {
		in.groups = append(in.groups, child)
	}
}

// follow extends a group's edge for as long as its requests agree.
func (in *chainInterner) follow(g chainGroup) chainGroup {
	for {
		g.from = in.dropEnded(g)
		if g.to-g.from < 2 {
			in.end(g.from, g.to, g)
			return g
		}
		if !in.agree(g) {
			return g
		}
		in.numShared++
		g.shared++
	}
}

// dropEnded settles those of a group that have no further full block, and returns where the rest
// begins.
func (in *chainInterner) dropEnded(g chainGroup) int {
	from := g.from
	for at := g.from; at < g.to; at++ {
		i := in.order[at]
		if in.blocks(i) <= g.shared {
			in.order[at], in.order[from] = in.order[from], i
			in.end(from, from+1, g)
			from++
		}
	}
	return from
}

// end settles requests that share nothing beyond what their group does.
func (in *chainInterner) end(from, to int, g chainGroup) {
	for _, i := range in.order[from:to] {
		in.leaf[i], in.depth[i] = g.edge, int32(g.shared)
	}
}

func (in *chainInterner) agree(g chainGroup) bool {
	for at := g.from + 1; at < g.to; at++ {
		if in.compare(in.order[g.from], in.order[at], g.shared) != 0 {
			return false
		}
	}
	return true
}

func (in *chainInterner) compare(x, y int32, block int) int {
	return slices.Compare(in.block(x, block, &in.a), in.block(y, block, &in.b))
}

// blocks is how many full blocks request i can have.
func (in *chainInterner) blocks(i int32) int {
	n := len(in.w.PromptIDs.Row(int(i)))
	if in.w.OutputIDs != nil {
		n += len(in.w.OutputIDs.Row(int(i)))
	}
	return n / int(in.blockSize)
}

// block returns the tokens of a block, in the buffer if they do not lie together.
func (in *chainInterner) block(i int32, block int, buffer *[]int32) []int32 {
	from := block * int(in.blockSize)
	to := from + int(in.blockSize)
	prompt := in.w.PromptIDs.Row(int(i))
	if to <= len(prompt) {
		return prompt[from:to]
	}
	output := in.w.OutputIDs.Row(int(i))
	if from >= len(prompt) {
		return output[from-len(prompt) : to-len(prompt)]
	}
	*buffer = append(append((*buffer)[:0], prompt[from:]...), output[:to-len(prompt)]...)
	return *buffer
}
