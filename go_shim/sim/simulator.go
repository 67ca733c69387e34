// Package sim simulates an LLM inference server as a discrete-event system whose step time is a
// regression on the composition of the batch. It is pure Go: no C, no I/O, no logging, no package
// state. A Simulator is opened once for a workload and a configuration and may then be used by any
// number of goroutines.
package sim

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// Errors that New wraps with what is wrong and where.
var (
	ErrWorkload = errors.New("invalid workload")
	ErrConfig   = errors.New("invalid configuration")
)

// ErrParams is returned by runs whose parameters are not finite.
var ErrParams = errors.New("invalid parameters")

// ErrEngine is returned where the leap engine was demanded and cannot prove itself exact.
var ErrEngine = errors.New("the leap engine is not exact here")

// maxTokens bounds the token counts of one request, so that their squares are exact in a float64
// and sums over steps fit in 64 bits.
const maxTokens = 1 << 26

// maxSetting bounds the whole numbers of a configuration.
const maxSetting = math.MaxInt32

// maxArrivalS bounds arrival times, in seconds (some 30 years), for the same reason.
const maxArrivalS = 1e9

// Simulator runs one workload under one configuration.
type Simulator struct {
	numRequests int

	v1 *v1 // nil under blis-2025-07

	blis    *blis     // nil under vllm-v1
	scratch sync.Pool // of *leapScratch or *v1LeapScratch
	skip    sync.Pool // of *v1SkipScratch
	workers sync.Pool // of *worker
}

// New validates its arguments and prepares everything that does not depend on the parameters. It
// keeps no reference to them.
func New(w *Workload, c Config) (*Simulator, error) {
	if err := validateWorkload(w); err != nil {
		return nil, err
	}
	if err := validateConfig(&c); err != nil {
		return nil, err
	}
	s := &Simulator{numRequests: len(w.ArrivalS)}
	if c.Semantics != BLIS202507 {
		var err error
		if s.v1, err = newV1(w, c); err != nil {
			return nil, err
		}
		s.makePools()
		return s, nil
	}
	if w.MaxConcurrency != 0 {
		return nil, fmt.Errorf("%w: blis-2025-07 has no closed loop: use vllm-v1, or leave max_concurrency out", ErrWorkload)
	}
	s.blis = newBLIS(w, c)
	s.makePools()
	return s, nil
}

func (s *Simulator) makePools() {
	s.workers.New = func() any { return new(worker) }
	if s.blis != nil {
		s.scratch.New = func() any { return newLeapScratch(s.blis) }
		return
	}
	s.scratch.New = func() any { return newV1LeapScratch(s.v1) }
	s.skip.New = func() any { return newV1SkipScratch(s.v1) }
}

// at is a simulator of the same requests, sent at other times, in seconds.
func (s *Simulator) at(arrivalS []float64) (*Simulator, error) {
	for i, a := range arrivalS {
		if err := validArrival(i, a); err != nil {
			return nil, err
		}
	}
	t := &Simulator{numRequests: s.numRequests}
	if s.v1 != nil {
		t.v1 = s.v1.at(arrivalS)
	} else {
		t.blis = s.blis.at(arrivalS)
	}
	t.makePools()
	return t, nil
}

// NumRequests is the length of every per-request result.
func (s *Simulator) NumRequests() int { return s.numRequests }

// Run simulates one candidate into r, whose slices the caller has sized.
func (s *Simulator) Run(p *Params, engine Engine, r *Result) error {
	if err := p.validate(); err != nil {
		return err
	}
	if s.v1 != nil {
		return s.runV1(p, engine, r)
	}
	if engine != Reference && s.blis.leapable {
		sc := s.scratch.Get().(*leapScratch)
		exact := s.blis.runLeap(p, sc, r)
		s.scratch.Put(sc)
		if exact {
			return nil
		}
	}
	if engine == Leap {
		return ErrEngine
	}
	s.blis.runReference(p, r)
	return nil
}

// runV1 takes the fastest engine that is exact: the plain leap engine, the skipping one, or the
// reference, which alone can be watched step by step.
func (s *Simulator) runV1(p *Params, engine Engine, r *Result) error {
	if engine != Reference && r.OnStep == nil && (s.runPlain(p, r) || s.runSkipping(p, r)) {
		return nil
	}
	if engine == Leap {
		return ErrEngine
	}
	s.v1.runReference(p, r)
	return nil
}

func (s *Simulator) runPlain(p *Params, r *Result) bool {
	if !s.v1.leapable {
		return false
	}
	sc := s.scratch.Get().(*v1LeapScratch)
	defer s.scratch.Put(sc)
	return s.v1.runLeap(p, sc, r)
}

func (s *Simulator) runSkipping(p *Params, r *Result) bool {
	if !s.v1.skippable() {
		return false
	}
	sc := s.skip.Get().(*v1SkipScratch)
	defer s.skip.Put(sc)
	s.v1.runSkip(p, sc, r)
	return true
}

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
