package sim

import (
	"fmt"
	"slices"
)

// Terms lists what a model consists of. NewTerms makes one of what has not been checked.
type Terms struct {
	Count int
	Index []int32 // the number of each term; nil: the first Count in order
}

// NewTerms takes the numbers of a model's terms, each of which may occur once, or nil for the first
// count. It keeps no reference to them.
func NewTerms(count int, index []int32) (Terms, error) {
	if count < 0 || count > NumTerms {
		return Terms{}, fmt.Errorf("%w: %d terms, there are %d", ErrParams, count, NumTerms)
	}
	var seen [NumTerms]bool
	for j, term := range index {
		if term < 0 || term >= NumTerms || seen[term] {
			return Terms{}, fmt.Errorf("%w: term %d of the model is number %d, expected 0 to %d, each once",
				ErrParams, j, term, NumTerms-1)
		}
		seen[term] = true
	}
	return Terms{count, slices.Clone(index)}, nil
}

// scatter makes a candidate of the coefficients of these terms.
func (t *Terms) scatter(p *Params, coeffs, overheads []float64) {
	copy(p.Overheads[:], overheads)
	if t.Index == nil {
		copy(p.Coeffs[:], coeffs)
		return
	}
	for j, term := range t.Index {
		p.Coeffs[term] = coeffs[j]
	}
}

// term is the number of the j-th.
func (t *Terms) term(j int) int {
	if t.Index == nil {
		return j
	}
	return int(t.Index[j])
}
