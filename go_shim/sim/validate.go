package sim

import (
	"fmt"
	"math"
)

func validateWorkload(w *Workload) error {
	n := len(w.ArrivalS)
	if n == 0 {
		return fmt.Errorf("%w: no requests", ErrWorkload)
	}
	if len(w.InputTokens) != n || len(w.OutputTokens) != n {
		return fmt.Errorf("%w: %d arrivals, %d input and %d output token counts", ErrWorkload,
			n, len(w.InputTokens), len(w.OutputTokens))
	}
	if w.MaxConcurrency < 0 {
		return fmt.Errorf("%w: max_concurrency is %d, expected >= 1, or 0 for none", ErrWorkload, w.MaxConcurrency)
	}
	for i, a := range w.ArrivalS {
		if err := validArrival(i, a); err != nil {
			return err
		}
		if err := validTokens(i, "input", w.InputTokens[i]); err != nil {
			return err
		}
		if err := validTokens(i, "output", w.OutputTokens[i]); err != nil {
			return err
		}
	}
	if err := validateRagged(w.PromptIDs, w.InputTokens, "prompt"); err != nil {
		return err
	}
	return validateRagged(w.OutputIDs, w.OutputTokens, "output")
}

func validArrival(i int, a float64) error {
	if !(math.Abs(a) <= maxArrivalS) {
		return fmt.Errorf("%w: request %d: arrival of %v s is not within ±%g s", ErrWorkload, i, a, maxArrivalS)
	}
	return nil
}

func validTokens(i int, kind string, n int64) error {
	if n < 0 || n > maxTokens {
		return fmt.Errorf("%w: request %d: %d %s tokens, expected 0 to %d", ErrWorkload, i, n, kind, maxTokens)
	}
	return nil
}

func validateRagged(r *Ragged, counts []int64, kind string) error {
	if r == nil {
		return nil
	}
	if len(r.Offsets) != len(counts)+1 || r.Offsets[0] != 0 {
		return fmt.Errorf("%w: %s token id offsets do not match %d requests", ErrWorkload, kind, len(counts))
	}
	for i, n := range counts {
		if r.Offsets[i+1]-r.Offsets[i] != n {
			return fmt.Errorf("%w: request %d: %d %s token ids for %d tokens", ErrWorkload, i,
				r.Offsets[i+1]-r.Offsets[i], kind, n)
		}
	}
	if int64(len(r.IDs)) != r.Offsets[len(counts)] {
		return fmt.Errorf("%w: %d %s token ids, offsets end at %d", ErrWorkload, len(r.IDs), kind, r.Offsets[len(counts)])
	}
	for i, id := range r.IDs {
		if id < 0 {
			return fmt.Errorf("%w: %s token id %d (number %d of all) is negative", ErrWorkload, kind, id, i)
		}
	}
	return nil
}

func validateConfig(c *Config) error {
	if c.Semantics < BLIS202507 || c.Semantics > VLLMV1_0_9_1 {
		return fmt.Errorf("%w: unknown semantics %d", ErrConfig, c.Semantics)
	}
	for _, f := range []struct {
		name  string
		value int64
		least int64
	}{
		{"max_num_seqs", c.MaxNumSeqs, 1},
		{"max_num_batched_tokens", c.MaxNumBatchedTokens, 1},
		{"block_size", c.BlockSize, 1},
		{"num_gpu_blocks", c.NumGPUBlocks, 0},
		{"max_model_len", c.MaxModelLen, 0},
		{"long_prefill_token_threshold", c.LongPrefillTokenThreshold, 0},
	} {
		if f.value < f.least || f.value > maxSetting {
			return fmt.Errorf("%w: %s is %d, expected %d to %d", ErrConfig, f.name, f.value, f.least, maxSetting)
		}
	}
	if !(c.Watermark >= 0 && c.Watermark < 1) {
		return fmt.Errorf("%w: watermark is %v, expected 0 <= w < 1", ErrConfig, c.Watermark)
	}
	if math.IsNaN(c.HorizonS) || c.HorizonS < 0 {
		return fmt.Errorf("%w: horizon_s is %v, expected a time >= 0", ErrConfig, c.HorizonS)
	}
	return nil
}

func (p *Params) validate() error {
	if i := notFinite(p.Coeffs[:]); i >= 0 {
		return fmt.Errorf("%w: coefficient %d is %v", ErrParams, i, p.Coeffs[i])
	}
	if i := notFinite(p.Overheads[:]); i >= 0 {
		return fmt.Errorf("%w: overhead %d is %v", ErrParams, i, p.Overheads[i])
	}
	return nil
}

// notFinite returns the index of the first value that is NaN or infinite, or -1.
func notFinite(values []float64) int {
	for i, v := range values {
		if v-v != 0 {
			return i
		}
	}
	return -1
}
