// Package sim simulates an LLM inference server as a discrete-event system whose step time is a
// regression on the composition of the batch. It is pure Go: no C, no I/O, no logging, no package
// state. A Simulator is opened once for a workload and a configuration and may then be used by any
// number of goroutines.
package sim

import (
	"fmt"
	"sync"
)

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
