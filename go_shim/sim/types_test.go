package sim

import (
	"errors"
	"testing"
)

// TestTermsOfCandidates: coefficients go where their terms are; what is no list of terms is refused.
func TestTermsOfCandidates(t *testing.T) {
	var p Params
	terms := Terms{Count: 2, Index: []int32{termPrompt, 0}}
	terms.scatter(&p, []float64{3, 5}, []float64{1, 2, 3, 4})
	var want Params
	want.Coeffs[termPrompt], want.Coeffs[0] = 3, 5
	want.Overheads = [NumOverheads]float64{1, 2, 3, 4}
	checkEqual(t, "candidate", want, p)
	for _, bad := range []Terms{
		{Count: NumTerms + 1}, {Count: -1},
		{Count: 1, Index: []int32{NumTerms}}, {Count: 1, Index: []int32{-1}}, {Count: 2, Index: []int32{4, 4}},
	} {
		if _, err := NewTerms(bad.Count, bad.Index); !errors.Is(err, ErrParams) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
