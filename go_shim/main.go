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
	_ [sim.NumCoeffs - C.PSB_NUM_COEFFS]struct{}
	_ [C.PSB_NUM_COEFFS - sim.NumCoeffs]struct{}
	_ [sim.NumOverheads - C.PSB_NUM_OVERHEADS]struct{}
	_ [C.PSB_NUM_OVERHEADS - sim.NumOverheads]struct{}
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
func psb_open(w *C.psb_workload, c *C.psb_config, handle *C.uint64_t, text *C.char, size C.int64_t) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	if w == nil || c == nil || handle == nil {
		return report(errNull, text, size)
	}
	s, err := sim.New(goWorkload(w), goConfig(c))
	if err != nil {
		return report(err, text, size)
	}
	*handle = C.uint64_t(open.add(s))
	return C.PSB_OK
}

//export psb_run
func psb_run(handle C.uint64_t, n C.int64_t, coeffs, overheads *C.double, engine, workers C.int32_t,
	ttft, e2e *C.double, summary *C.int64_t, detail *C.int32_t, text *C.char, size C.int64_t,
) (code C.int32_t) {
	defer recoverInto(&code, text, size)
	s, err := open.get(uint64(handle))
	if err != nil {
		return report(err, text, size)
	}
	if n < 0 || coeffs == nil || overheads == nil || ttft == nil || e2e == nil || summary == nil {
		return report(errNull, text, size)
	}
	rows, requests := int(n), s.NumRequests()
	err = s.RunBatch(rows, &sim.Candidates{
		Coeffs:    floats(coeffs, rows*sim.NumCoeffs),
		Overheads: floats(overheads, rows*sim.NumOverheads),
		TTFT:      floats(ttft, rows*requests),
		E2E:       floats(e2e, rows*requests),
		Summary:   unsafe.Slice((*int64)(summary), rows*sim.SummaryColumns),
		Detail:    unsafe.Slice((*int32)(detail), detailLength(detail, rows*requests)),
	}, sim.Engine(engine), int(workers))
	if err != nil {
		return report(err, text, size)
	}
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
		InputTokens:  unsafe.Slice((*int64)(w.input_tokens), n),
		OutputTokens: unsafe.Slice((*int64)(w.output_tokens), n),
		PromptIDs:    ragged(w.prompt_offsets, w.prompt_token_ids, n),
		OutputIDs:    ragged(w.output_offsets, w.output_token_ids, n),
	}
}

func goConfig(c *C.psb_config) sim.Config {
	return sim.Config{
		Semantics:           sim.Semantics(c.semantics),
		MaxNumSeqs:          int64(c.max_num_seqs),
		MaxNumBatchedTokens: int64(c.max_num_batched_tokens),
		BlockSize:           int64(c.block_size),
		NumGPUBlocks:        int64(c.num_gpu_blocks),
		EnablePrefixCaching: c.enable_prefix_caching != 0,
		HorizonS:            float64(c.horizon_s),
	}
}

func floats(p *C.double, n int) []float64 { return unsafe.Slice((*float64)(p), n) }

func ragged(offsets *C.int64_t, ids *C.int32_t, n int) *sim.Ragged {
	if offsets == nil {
		return nil
	}
	r := &sim.Ragged{Offsets: unsafe.Slice((*int64)(offsets), n+1)}
	r.IDs = unsafe.Slice((*int32)(ids), r.Offsets[n])
	return r
}

func detailLength(detail *C.int32_t, cells int) int {
	if detail == nil {
		return 0
	}
	return cells * sim.DetailRows
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
