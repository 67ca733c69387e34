package main

import (
	"errors"
	"fmt"
	"sync"

	"pysimbind/sim"
)

var errHandle = errors.New("no such simulator")

// opened is a simulator and the terms of the candidates that it is given.
type opened struct {
	*sim.Simulator
	terms sim.Terms
}

// registry maps handles to simulators. Handles count up and are never used twice, so a closed or
// invented one is always found out.
type registry struct {
	mu   sync.RWMutex
	last uint64
	sims map[uint64]*opened
}

var open = registry{sims: make(map[uint64]*opened)}

func (r *registry) add(s *opened) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	r.sims[r.last] = s
	return r.last
}

func (r *registry) get(handle uint64) (*opened, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s, found := r.sims[handle]
	if !found {
		return nil, r.missing(handle)
	}
	return s, nil
}

// remove forgets a simulator; runs that are under way keep it until they end.
func (r *registry) remove(handle uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, found := r.sims[handle]; !found {
		return r.missing(handle)
	}
	delete(r.sims, handle)
	return nil
}

func (r *registry) missing(handle uint64) error {
	if handle != 0 && handle <= r.last {
		return fmt.Errorf("%w: handle %d has been closed", errHandle, handle)
	}
	return fmt.Errorf("%w: handle %d was never opened", errHandle, handle)
}

func (r *registry) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.sims)
}
