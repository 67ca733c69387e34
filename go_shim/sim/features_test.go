package sim

import (
	"math"
	"math/rand/v2"
	"testing"
)

// randomBatch has few and many of everything; some decode only, or prefill only.
func randomBatch(rng *rand.Rand) batch {
	var b batch
	b.decodes = rng.Int64N(2) * rng.Int64N(500)
	b.context = b.decodes * rng.Int64N(3000)
	for range rng.IntN(4) {
		b.add(1+rng.Int64N(300), rng.Int64N(2)*rng.Int64N(5000))
	}
	return b
}

func randomCoeffs(rng *rand.Rand) *[NumTerms]float64 {
	var c [NumTerms]float64
	for j := range c {
		c[j] = float64(rng.IntN(4)/2) * rng.NormFloat64() // half of them are absent
	}
	return &c
}

// featuresOf is what derivatives of all terms count of a batch.
func featuresOf(b *batch) [NumTerms]float64 {
	var f [NumTerms]float64
	newGradient(&Result{JacTTFT: []float64{}, Terms: Terms{Count: NumTerms}}, nil).features(b, &f)
	return f
}

// TestFeaturesMakeTheStepTime: coefficients times the features of the derivatives, summed in the order of
// the terms, are the step time, to the bit. So is what a batch that only decodes takes.
func TestFeaturesMakeTheStepTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	for range 20000 {
		b, c := randomBatch(rng), randomCoeffs(rng)
		m := newModel(c)
		sum, contexts := 0.0, 0.0
		for j, feature := range featuresOf(&b) {
			if j == termContext {
				contexts = float64(c[j]*feature) * microsPerSecond
			} else {
				sum += float64(c[j] * feature)
			}
		}
		base := m.base(b.shape, b.attention)
		checkBits(t, "base", sum*microsPerSecond, base)
		checkBits(t, "duration", base+contexts, m.duration(base, b.context))
		checkBits(t, "decodes", m.base(shape{decodes: b.decodes}, 0), m.decodeBase(b.decodes))
	}
}

func checkBits(t *testing.T, what string, want, got float64) {
	t.Helper()
	if math.Float64bits(want+0) != math.Float64bits(got+0) { // -0 counts as 0
		t.Fatalf("%s: %v, expected %v", what, got, want)
	}
}

// TestFeaturesAsWanted: derivatives of some terms, in any order, count the features that derivatives of
// all do; and those of a request's own terms count what delays are.
func TestFeaturesAsWanted(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	for range 5000 {
		wanted := Terms{Count: rng.IntN(NumTerms + 1)}
		if rng.IntN(2) == 0 {
			for _, j := range rng.Perm(NumTerms)[:wanted.Count] {
				wanted.Index = append(wanted.Index, int32(j))
			}
		}
		g := newGradient(&Result{JacTTFT: []float64{}, Terms: wanted}, nil)
		b := randomBatch(rng)
		var f, own [NumTerms]float64
		g.features(&b, &f)
		tokens, prompt := rng.Int64N(1000), rng.Int64N(1000)
		g.addDelay(own[:], tokens, prompt)
		all := featuresOf(&b)
		for j := range wanted.Count {
			term, alone := wanted.term(j), [NumTerms]float64{}
			checkBits(t, "feature", all[term], f[j])
			alone[term] = 1 / microsPerSecond
			delays := newDelays(&alone)
			checkBits(t, "delay", delays.of(tokens, prompt), own[j])
		}
	}
}

// TestEveryTermCounts: no term is a name alone. Each has a feature in some batch, or is a request's own.
func TestEveryTermCounts(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 1))
	var largest [NumTerms]float64
	for range 100 {
		b := randomBatch(rng)
		for j, feature := range featuresOf(&b) {
			largest[j] = max(largest[j], feature)
		}
	}
	for term, feature := range largest {
		if own := term == termOut || term == termPrompt; own != (feature == 0) {
			t.Errorf("term %d: the largest feature is %v", term, feature)
		}
	}
}
