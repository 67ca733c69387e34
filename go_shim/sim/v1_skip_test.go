package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestV1ChainNumbers: two blocks have the same number exactly if their requests agree up to the end
// of the block, compared token by token; and a path is the shared numbers that can be computed.
func TestV1ChainNumbers(t *testing.T) {
	for seed := range uint64(300) {
		w, c, _ := tightV1(rand.New(rand.NewPCG(seed, 4)))
		if w.PromptIDs == nil {
			continue
		}
		table := newChainTable(w, w.OutputTokens, c.BlockSize)
		tokens := func(i int) []int32 {
			if w.OutputIDs == nil {
				return w.PromptIDs.Row(i)
			}
			return append(w.PromptIDs.Row(i), w.OutputIDs.Row(i)...)
		}
		first := map[string]int64{} // the number of a prefix
		owners := map[string]int{}
		for i := range w.InputTokens {
			for b := c.BlockSize; b <= int64(len(tokens(i))); b += c.BlockSize {
				prefix, number := fmt.Sprint(tokens(i)[:b]), table.chain(i, b/c.BlockSize-1)
				if known, ok := first[prefix]; ok && known != number {
					t.Fatalf("seed %d: request %d, token %d: chain %d, want %d", seed, i, b, number, known)
				}
				first[prefix] = number
				owners[prefix]++
			}
		}
		numbers := map[int64]bool{}
		for _, number := range first {
			numbers[number] = true
		}
		checkEqual(t, "different chains", len(first), len(numbers))
		for i := range w.InputTokens {
			computed := w.InputTokens[i] + w.OutputTokens[i] - 1
			checkPath(t, table, i, func(b int64) bool {
				return b*c.BlockSize <= min(int64(len(tokens(i))), computed) && owners[fmt.Sprint(tokens(i)[:b*c.BlockSize])] > 1
			})
		}
	}
}

// checkPath compares the path of request i with the numbers of its blocks, of which shared tells
// whether the first b are on it.
func checkPath(t *testing.T, table *chainTable, i int, shared func(b int64) bool) {
	t.Helper()
	at := int32(0)
	for _, step := range table.path(i) {
		edge := table.edges[step.edge]
		checkEqual(t, "begin of an edge", at, edge.start)
		for ; at < step.to; at++ {
			checkEqual(t, "number on the path", table.chain(i, int64(at)), edge.first+int64(at-edge.start))
		}
	}
	if n := int64(at); n > 0 && !shared(n) || shared(n+1) {
		t.Errorf("request %d shares %d blocks", i, n)
	}
}

// TestV1OldestPiece: of several cached copies the oldest is hit, block by block, and what is hit of a
// piece becomes one of its own. Worked out by hand: 2 requests share 10 blocks of one token; an older
// copy of blocks 4 to 7 lies inside a younger one of all.
func TestV1OldestPiece(t *testing.T) {
	ids := []int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	w := lengths([]float64{0, 0}, []int64{10, 10}, []int64{1, 1})
	w.PromptIDs = &Ragged{Offsets: []int64{0}}
	w.PromptIDs.push(ids)
	w.PromptIDs.push(ids)
	c := v1TestConfig()
	c.BlockSize, c.NumGPUBlocks = 1, 101
	v, err := newV1(w, c)
	if err != nil {
		t.Fatal(err)
	}
	k := newV1LazyPool(v)
	k.reset()
	k.take(14)
	older := k.fill(0, 4, 8, nil)
	younger := k.fill(0, 0, 10, nil)
	k.release(0, 0, 0, older, false)
	k.release(0, 0, 0, younger, false)
	a, b := older[0].piece, younger[0].piece
	h := k.look(1, 9)
	checkEqual(t, "found", []v1Found{{b, 0, 4}, {a, 4, 8}, {b, 8, 9}}, h.found)
	checkEqual(t, "unused", int64(9), h.unused)
	held := k.claim(nil)
	checkEqual(t, "free", int64(91), k.free)
	for n, want := range [][2]int32{{0, 4}, {4, 8}, {8, 9}} {
		piece := &k.nodes[held[n].piece]
		checkEqual(t, "piece", want, [2]int32{piece.from, piece.to()})
		checkEqual(t, "references", int32(1), piece.refs)
	}
	k.take(91) // all that nobody holds: the younger copies of blocks 4 to 7, and block 9
	checkEqual(t, "hits", int64(9), k.look(0, 9).blocks())
	k.release(1, 0, 0, held, false)
	k.take(1) // the last of these
	checkEqual(t, "hits", int64(8), k.look(0, 9).blocks())
}

// TestV1TightCases: the random cases meet what the skipping engine is for.
func TestV1TightCases(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(500) {
		w, c, p := tightV1(rand.New(rand.NewPCG(seed, 5)))
		s, err := New(w, c)
		if err != nil {
			t.Fatal(err)
		}
		r := newResult(s.NumRequests())
		r.OnStep = func(step StepTrace) {
			for _, q := range step.Requests {
				if q.Resumed && q.CachedTokens > 0 {
					seen["back with a hit"]++
				}
			}
			if step.Prefills > 1 && c.LongPrefillTokenThreshold > 0 {
				seen["several prefills under a threshold"]++
			}
		}
		if err := s.Run(p, Auto, r); err != nil {
			t.Fatal(err)
		}
		if slices.Max(r.Cached) > 0 {
			seen["hit"]++
		}
		if slices.Max(r.Preemptions) > 3 {
			seen["preempted again and again"]++
		}
		seen[fmt.Sprint("outcome ", r.Outcome)]++
	}
	t.Log(seen)
	for _, what := range []string{
		"back with a hit", "several prefills under a threshold", "hit", "preempted again and again",
		fmt.Sprint("outcome ", OK), fmt.Sprint("outcome ", Horizon), fmt.Sprint("outcome ", NegativeStep),
	} {
		if seen[what] == 0 {
			t.Errorf("no case of %q among the random ones", what)
		}
	}
}

// TestV1SkipReusesMemory: once a simulator has run, a run allocates nothing.
func TestV1SkipReusesMemory(t *testing.T) {
	w, c := starved(200)
	converse(w)
	c.AsyncScheduling, c.NumGPUBlocks = true, 400
	s, err := New(w, c)
	if err != nil {
		t.Fatal(err)
	}
	sc, r := newV1SkipScratch(s.v1), bareResult(s.NumRequests())
	if got := testing.AllocsPerRun(5, func() { s.v1.runSkip(&benchCandidate, sc, r) }); got != 0 {
		t.Errorf("%v allocations a run", got)
	}
	if slices.Max(r.Preemptions) == 0 || slices.Max(r.Cached) == 0 {
		t.Error("nothing happened")
	}
}
