package sim

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
)

// trial is a workload, a configuration and a candidate on which the engines have to agree.
type trial struct {
	w *Workload
	c Config
	p *Params
}

// checkEngines runs both engines on a case and reports whether a quick engine was exact on it. The
// seed decides too what else is asked of them: derivatives of a kind, queue times. Where the engines
// disagree it names the first request on which they do, and the smallest case that still fails.
func checkEngines(t *testing.T, seed uint64, w *Workload, c Config, p *Params) bool {
	t.Helper()
	leapt, err := compareEngines(seed, trial{w, c, p})
	if err == nil {
		return leapt
	}
	small := shrink(trial{w, c, p}, func(smaller trial) bool {
		_, err := compareEngines(seed, smaller)
		return err != nil
	})
	_, still := compareEngines(seed, small)
	t.Fatalf("seed %d: %v\nsmallest case that fails: %v\n%s", seed, err, still, small)
	return false
}

// compareEngines returns whether a quick engine ran, and what the first difference is. A case that
// New refuses has none.
func compareEngines(seed uint64, c trial) (leapt bool, err error) {
	s, err := New(c.w, c.c)
	if err != nil {
		if errors.Is(err, ErrWorkload) {
			err = nil
		}
		return false, err
	}
	want, got := newResult(s.NumRequests()), newResult(s.NumRequests())
	switch seed % 3 {
	case 0: // without derivatives
		want.JacTTFT, want.JacE2E, got.JacTTFT, got.JacE2E = nil, nil, nil, nil
	case 1:
		want.Renewal, got.Renewal = true, true
	}
	scheduled := recordFirstSteps(want)
	if err := s.Run(c.p, Reference, want); err != nil {
		return false, err
	}
	want.OnStep = nil // no part of what is compared
	if !sameBits(want.ScheduledS, scheduled) {
		return false, fmt.Errorf("scheduled at %v, the steps tell %v", want.ScheduledS, scheduled)
	}
	for range 2 { // the second time in memory that was used before
		if err := s.Run(c.p, Auto, got); err != nil {
			return false, err
		}
	}
	if err := difference(got, want); err != nil {
		return false, err
	}
	return got.Engine == Leap, compareBare(seed, s, c.p, want)
}

// recordFirstSteps listens to the steps of a run, and returns where it notes when the first step with
// each request began, in seconds.
func recordFirstSteps(r *Result) []float64 {
	scheduled := make([]float64, len(r.TTFT))
	fill(scheduled, math.NaN())
	r.OnStep = func(step StepTrace) {
		for _, q := range step.Requests {
			if math.IsNaN(scheduled[q.Request]) {
				scheduled[q.Request] = step.StartUS / microsPerSecond
			}
		}
	}
	return scheduled
}

// compareBare asks for latencies alone, as a fit does, or for queue times too: some engines then take
// a shorter way.
func compareBare(seed uint64, s *Simulator, p *Params, want *Result) error {
	n := s.NumRequests()
	got := &Result{TTFT: make([]float64, n), E2E: make([]float64, n), NoPeak: true}
	if seed/4%2 == 0 { // 4: for each kind of case that is drawn
		got.ScheduledS = make([]float64, n)
	}
	if err := s.Run(p, Auto, got); err != nil {
		return err
	}
	bare := &Result{TTFT: want.TTFT, E2E: want.E2E, Outcome: want.Outcome, Steps: want.Steps}
	if got.ScheduledS != nil {
		bare.ScheduledS = want.ScheduledS
	}
	bare.PeakKVBlocks, bare.NoPeak = got.PeakKVBlocks, true
	if err := difference(got, bare); err != nil {
		return fmt.Errorf("for latencies alone: %w", err)
	}
	return nil
}

// difference names the first request on which two results differ, in any bit, with the field and both
// values; or else what differs in the run as a whole. The engine that ran is not compared.
func difference(got, want *Result) error {
	a, b := reflect.ValueOf(*got), reflect.ValueOf(*want)
	first, where := len(want.TTFT), error(nil)
	for f := range a.NumField() {
		name, x, y := a.Type().Field(f).Name, a.Field(f), b.Field(f)
		if x.Kind() != reflect.Slice {
			continue
		}
		if x.Len() != y.Len() {
			return fmt.Errorf("%s has %d values, want %d", name, x.Len(), y.Len())
		}
		columns := max(x.Len()/max(len(want.TTFT), 1), 1)
		for i := range min(x.Len(), first*columns) {
			if !sameValue(x.Index(i), y.Index(i)) {
				first = i / columns
				where = fmt.Errorf("request %d: %s is %v, want %v", first, column(name, i, columns), x.Index(i), y.Index(i))
				break
			}
		}
	}
	switch {
	case where != nil:
		return where
	case got.Outcome != want.Outcome:
		return fmt.Errorf("Outcome is %v, want %v", got.Outcome, want.Outcome)
	case got.Steps != want.Steps:
		return fmt.Errorf("Steps is %v, want %v", got.Steps, want.Steps)
	case got.PeakKVBlocks != want.PeakKVBlocks:
		return fmt.Errorf("PeakKVBlocks is %v, want %v", got.PeakKVBlocks, want.PeakKVBlocks)
	}
	return nil
}

// column names a value of a field: with its place in the request's row, where it has several.
func column(name string, i, columns int) string {
	if columns == 1 {
		return name
	}
	return fmt.Sprintf("%s[%d]", name, i%columns)
}

// sameValue takes one NaN for another, as its bits tell nothing.
func sameValue(x, y reflect.Value) bool {
	if x.Kind() != reflect.Float64 {
		return x.Interface() == y.Interface()
	}
	a, b := x.Float(), y.Float()
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}
