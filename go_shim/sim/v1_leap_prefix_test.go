package sim

import (
	"math/rand/v2"
	"testing"
)

// barelyV1 draws cases in which prefixes are asked for when they are just still cached, or just not:
// pools of little more than what must fit, many requests with prompts of full blocks, prefixes that
// fork, and a request or two that stay while the others come and go.
func barelyV1(rng *rand.Rand) (*Workload, Config, *Params) {
	w, c, p := evictingV1(rng)
	c.BlockSize = 1 + rng.Int64N(3)
	c.MaxNumSeqs = 1 + rng.Int64N(3)
	c.MaxNumBatchedTokens = []int64{c.MaxNumSeqs, 7, 200}[rng.IntN(3)]
	c.MaxNumBatchedTokens = max(c.MaxNumBatchedTokens, c.MaxNumSeqs)
	w = &Workload{PromptIDs: &Ragged{Offsets: []int64{0}}, MaxConcurrency: rng.Int64N(2) * rng.Int64N(4)}
	longest, spread := 1+rng.Int64N(6), 0.1*float64(rng.IntN(2))
	most := int64(0)
	for i := range 4 + rng.IntN(30) {
		n := (1+rng.Int64N(longest))*c.BlockSize + rng.Int64N(2)*rng.Int64N(c.BlockSize+1)
		ids := tokens(int32(1000*(i+1)), n)
		if rng.IntN(2) == 0 { // begins as others do, on one of two ways after the first blocks
			shared := min(rng.Int64N(longest+1)*c.BlockSize, n)
			copy(ids, tokens(0, shared))
			if fork := c.BlockSize * rng.Int64N(longest); rng.IntN(3) == 0 && fork < shared {
				copy(ids[fork:shared], tokens(500, shared-fork))
			}
		}
		output := int64(1)
		if rng.IntN(3) == 0 {
			output += rng.Int64N(4 * c.BlockSize)
		}
		w.ArrivalS = append(w.ArrivalS, spread*rng.Float64())
		w.InputTokens, w.OutputTokens = append(w.InputTokens, n), append(w.OutputTokens, output)
		w.PromptIDs.push(ids)
		most = max(most, v1Held(n, output, c.BlockSize))
	}
	held := make([]int64, len(w.ArrivalS))
	for i, n := range w.InputTokens {
		held[i] = v1Held(n, w.OutputTokens[i], c.BlockSize)
	}
	together := sumLargest(held, int(min(c.MaxNumSeqs, int64(len(held)))))
	c.NumGPUBlocks = 1 + together + rng.Int64N(3*most)
	return w, c, p
}

// TestV1PrefixesThatMayBeEvicted: the plain leap engine counts on a cached prefix only where it
// cannot have been evicted yet, which the reference engine tells; and it does so for some pools
// that evict, and gives up in others.
func TestV1PrefixesThatMayBeEvicted(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) (*Workload, Config, *Params){
		"roomy": evictingV1, "barely": barelyV1,
	} {
		t.Run(name, func(t *testing.T) {
			proven, lost := uint64(0), uint64(0)
			for seed := *first; seed < *first+*cases; seed++ {
				w, c, p := draw(rand.New(rand.NewPCG(seed, 0xe71c)))
				s, err := New(w, c)
				if err != nil || !s.v1.shares || !s.v1.leapable || !evicts(s.v1) {
					continue
				}
				if !s.v1.runLeap(p, newV1LeapScratch(s.v1), newResult(s.NumRequests())) {
					lost++
					continue
				}
				proven++
				checkEngines(t, seed, w, c, p)
			}
			t.Logf("%d runs proven, %d lost", proven, lost)
			if proven < *cases/60 || lost < *cases/60 {
				t.Errorf("%d runs proven, %d lost: too few of a kind", proven, lost)
			}
		})
	}
}

// evicts tells whether more blocks are taken than the pool has.
func evicts(v *v1) bool {
	taken := int64(0)
	for i, n := range v.input {
		taken += v1Held(n, v.output[i], v.blockSize)
	}
	return taken > v.usable
}
