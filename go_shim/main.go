// Command main is the C ABI of the simulator, built with -buildmode=c-shared. The prototypes live
// in pysimbind/_cdef.h, which the compiler checks these exports against. Nothing is decided here:
// validate, copy in, run, copy out, recover.
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../pysimbind
#include <stdint.h>
#include "_cdef.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"pysimbind/sim"
)

func main() {}

// The layouts that Go and C must agree on: an array size below zero fails to compile.
var (
	_ [sim.NumOverheads - C.PSB_NUM_OVERHEADS]struct{}
	_ [C.PSB_NUM_OVERHEADS - sim.NumOverheads]struct{}
	_ [sim.TimeColumns - C.PSB_TIME_COLUMNS]struct{}
	_ [C.PSB_TIME_COLUMNS - sim.TimeColumns]struct{}
	_ [sim.CountColumns - C.PSB_COUNT_COLUMNS]struct{}
	_ [C.PSB_COUNT_COLUMNS - sim.CountColumns]struct{}
	_ [sim.EntryColumns - C.PSB_ENTRY_COLUMNS]struct{}
	_ [C.PSB_ENTRY_COLUMNS - sim.EntryColumns]struct{}
	_ [sim.SummaryColumns - C.PSB_SUMMARY_COLUMNS]struct{}
	_ [C.PSB_SUMMARY_COLUMNS - sim.SummaryColumns]struct{}
	_ [sim.DetailRows - C.PSB_DETAIL_ROWS]struct{}
	_ [C.PSB_DETAIL_ROWS - sim.DetailRows]struct{}
)

var errNull = errors.New("a required pointer is NULL")

//export psb_abi_version
func psb_abi_version() C.int32_t { return C.PSB_ABI_VERSION }

//export psb_open_handles
func psb_open_handles() C.int64_t { return C.int64_t(open.count()) }

//export psb_open
func psb_open(w *C.psb_workload, c *C.psb_config, num_terms C.int64_t, terms *C.int32_t,
	handle *C.uint64_t, text *C.char, size C.int64_t,
) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	if w == nil || c == nil || handle == nil || num_terms < 0 {
		return report(errNull, text, size)
	}
	model, err := sim.NewTerms(int(num_terms), optional((*int32)(terms), int(num_terms)))
	if err != nil {
		return report(err, text, size)
	}
	s, err := sim.New(goWorkload(w), goConfig(c))
	if err != nil {
		return report(err, text, size)
	}
	*handle = C.uint64_t(open.add(&opened{s, model}))
	return C.PSB_OK
}

//export psb_run
func psb_run(handle C.uint64_t, n C.int64_t, coeffs, overheads, arrival_s *C.double, engine, workers C.int32_t,
	out *C.psb_output, text *C.char, size C.int64_t,
) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	s, err := open.get(uint64(handle))
	if err != nil {
		return report(err, text, size)
	}
	if n < 0 || coeffs == nil || overheads == nil || out == nil ||
		out.ttft == nil || out.e2e == nil || out.summary == nil ||
		(out.jac_ttft == nil) != (out.jac_e2e == nil) {
		return report(errNull, text, size)
	}
	rows := int(n)
	cells := rows * s.NumRequests()
	params := s.terms.Count + sim.NumOverheads
	err = s.RunBatch(rows, &sim.Candidates{
		Terms:     s.terms,
		Coeffs:    floats(coeffs, rows*s.terms.Count),
		Overheads: floats(overheads, rows*sim.NumOverheads),
		ArrivalS:  optional((*float64)(arrival_s), cells),
		TTFT:      floats(out.ttft, cells),
		E2E:       floats(out.e2e, cells),
		Summary:   integers(out.summary, rows*sim.SummaryColumns),
		Detail:    optional((*int32)(out.detail), cells*sim.DetailRows),
		Sent:      optional((*float64)(out.sent), cells),
		Scheduled: optional((*float64)(out.scheduled), cells),
		JacTTFT:   optional((*float64)(out.jac_ttft), cells*params),
		JacE2E:    optional((*float64)(out.jac_e2e), cells*params),
		Renewal:   out.jacobian == C.PSB_JACOBIAN_RENEWAL,
	}, sim.Engine(engine), int(workers))
	if err != nil {
		return report(err, text, size)
	}
	return C.PSB_OK
}

//export psb_trace
func psb_trace(handle C.uint64_t, coeffs, overheads *C.double, out *C.psb_trace_output,
	text *C.char, size C.int64_t,
) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	s, err := open.get(uint64(handle))
	if err != nil {
		return report(err, text, size)
	}
	if coeffs == nil || overheads == nil || out == nil || out.step_capacity < 0 || out.entry_capacity < 0 ||
		out.times == nil || out.counts == nil || out.entries == nil {
		return report(errNull, text, size)
	}
	trace, err := s.Trace(&s.terms, floats(coeffs, s.terms.Count), floats(overheads, sim.NumOverheads))
	if err != nil {
		return report(err, text, size)
	}
	copy(floats(out.times, int(out.step_capacity)*sim.TimeColumns), trace.Times)
	copy(integers(out.counts, int(out.step_capacity)*sim.CountColumns), trace.Counts)
	copy(integers(out.entries, int(out.entry_capacity)*sim.EntryColumns), trace.Entries)
	out.num_steps = C.int64_t(len(trace.Times) / sim.TimeColumns)
	out.num_entries = C.int64_t(len(trace.Entries) / sim.EntryColumns)
	return C.PSB_OK
}

//export psb_close
func psb_close(handle C.uint64_t, text *C.char, size C.int64_t) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	if err := open.remove(uint64(handle)); err != nil {
		return report(err, text, size)
	}
	return C.PSB_OK
}

func goWorkload(w *C.psb_workload) *sim.Workload {
	n := int(max(w.num_requests, 0))
	return &sim.Workload{
		ArrivalS:     floats(w.arrival_s, n),
		InputTokens:  integers(w.input_tokens, n),
		OutputTokens: integers(w.output_tokens, n),
		PromptIDs:    ragged(w.prompt_offsets, w.prompt_token_ids, n),
		OutputIDs:    ragged(w.output_offsets, w.output_token_ids, n),

		MaxConcurrency: int64(w.max_concurrency),
	}
}

func goConfig(c *C.psb_config) sim.Config {
	return sim.Config{
		Semantics:                 sim.Semantics(c.semantics),
		MaxNumSeqs:                int64(c.max_num_seqs),
		MaxNumBatchedTokens:       int64(c.max_num_batched_tokens),
		BlockSize:                 int64(c.block_size),
		NumGPUBlocks:              int64(c.num_gpu_blocks),
		EnablePrefixCaching:       c.enable_prefix_caching != 0,
		HorizonS:                  float64(c.horizon_s),
		MaxModelLen:               int64(c.max_model_len),
		EnableChunkedPrefill:      c.enable_chunked_prefill != 0,
		LongPrefillTokenThreshold: int64(c.long_prefill_token_threshold),
		ReserveFullISL:            c.scheduler_reserve_full_isl != 0,
		Watermark:                 float64(c.watermark),
		AsyncScheduling:           c.async_scheduling != 0,
	}
}

func floats(p *C.double, n int) []float64 { return unsafe.Slice((*float64)(p), n) }

func integers(p *C.int64_t, n int) []int64 { return unsafe.Slice((*int64)(p), n) }

func ragged(offsets *C.int64_t, ids *C.int32_t, n int) *sim.Ragged {
	if offsets == nil {
		return nil
	}
	r := &sim.Ragged{Offsets: integers(offsets, n+1)}
	r.IDs = unsafe.Slice((*int32)(ids), r.Offsets[n])
	return r
}

// optional is the array at p, or nil where there is none.
func optional[T any](p *T, n int) []T {
	if p == nil {
		return nil
	}
	return unsafe.Slice(p, n)
}

// report writes err into the caller's text buffer and returns its code.
func report(err error, text *C.char, size C.int64_t) C.int32_t {
	if text != nil && size > 0 {
		buffer := unsafe.Slice((*byte)(unsafe.Pointer(text)), int(size))
		buffer[copy(buffer[:size-1], err.Error())] = 0
	}
	switch {
	case errors.Is(err, errHandle):
		return C.PSB_BAD_HANDLE
	case errors.Is(err, errPanic):
		return C.PSB_PANIC
	}
	return C.PSB_BAD_INPUT
}

var errPanic = errors.New("panic in the simulator")

// recoverInto turns a panic into a return code: none may cross into C.
func recoverInto(code *C.int32_t, text *C.char, size C.int64_t) {
	if p := recover(); p != nil {
		*code = report(fmt.Errorf("%w: %v", errPanic, p), text, size)
	}
}
