package sim

import (
	"math/rand/v2"
	"testing"
)

// TestV1PrefixesThatMayBeEvicted: the plain leap engine counts on a cached prefix only where it
// cannot have been evicted yet, which the reference engine tells; and it does so for some pools
// that evict, and gives up in others.
func TestV1PrefixesThatMayBeEvicted(t *testing.T) {
	proven, lost := 0, 0
	for seed := range uint64(3000) {
		w, c, p := evictingV1(rand.New(rand.NewPCG(seed, 0xe71c)))
		s, err := New(w, c)
		if err != nil || !s.v1.shares || !s.v1.leapable || !evicts(s.v1) {
			continue
		}
		got, want := newResult(s.NumRequests()), newResult(s.NumRequests())
		if !s.v1.runLeap(p, newV1LeapScratch(s.v1), got) {
			lost++
			continue
		}
		proven++
		s.v1.runReference(p, want)
		if !sameBits(got.E2E, want.E2E) || !sameBits(got.TTFT, want.TTFT) || got.PeakKVBlocks != want.PeakKVBlocks {
			t.Fatalf("seed %d: cached %v, expected %v", seed, got.Cached, want.Cached)
		}
	}
	if proven < 100 || lost < 100 {
		t.Errorf("%d runs proven, %d lost: too few of a kind", proven, lost)
	}
	t.Logf("%d runs proven, %d lost", proven, lost)
}

// evicts tells whether more blocks are taken than the pool has.
func evicts(v *v1) bool {
	taken := int64(0)
	for i, n := range v.input {
		taken += v1Held(n, v.output[i], v.blockSize)
	}
	return taken > v.usable
}
