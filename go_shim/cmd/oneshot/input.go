package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"pysimbind/sim"
)

// input is the file that oneshot reads. Token ids are spelled out, as in the original's workload
// files; their number is a request's length.
type input struct {
	Config    config    `json:"config"`
	Coeffs    []float64 `json:"coeffs"`       // seconds a feature
	Overheads []float64 `json:"overheads_us"` // microseconds
	Requests  []request `json:"requests"`
}

// config has the server settings by the names of pysimbind's ServerConfig.
type config struct {
	Semantics                 string  `json:"semantics"`
	MaxNumSeqs                int64   `json:"max_num_seqs"`
	MaxNumBatchedTokens       int64   `json:"max_num_batched_tokens"`
	BlockSize                 int64   `json:"block_size"`
	NumGPUBlocks              int64   `json:"num_gpu_blocks"` // 0: unlimited
	MaxModelLen               int64   `json:"max_model_len"`  // 0: no limit
	EnablePrefixCaching       bool    `json:"enable_prefix_caching"`
	EnableChunkedPrefill      bool    `json:"enable_chunked_prefill"`
	LongPrefillTokenThreshold int64   `json:"long_prefill_token_threshold"`
	ReserveFullISL            bool    `json:"scheduler_reserve_full_isl"`
	Watermark                 float64 `json:"watermark"`
	AsyncScheduling           bool    `json:"async_scheduling"`
}

type request struct {
	ArrivalS  float64 `json:"arrival_s"`
	PromptIDs []int32 `json:"prompt_token_ids"`
	OutputIDs []int32 `json:"output_token_ids"`
}

func parse(data []byte) (*input, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	in := &input{}
	if err := decoder.Decode(in); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more in the file than one JSON object")
	}
	return in, nil
}

func (in *input) workload() *sim.Workload {
	w := &sim.Workload{
		PromptIDs: &sim.Ragged{Offsets: []int64{0}},
		OutputIDs: &sim.Ragged{Offsets: []int64{0}},
	}
	for _, q := range in.Requests {
		w.ArrivalS = append(w.ArrivalS, q.ArrivalS)
		w.InputTokens = append(w.InputTokens, appendRow(w.PromptIDs, q.PromptIDs))
		w.OutputTokens = append(w.OutputTokens, appendRow(w.OutputIDs, q.OutputIDs))
	}
	return w
}

func appendRow(r *sim.Ragged, ids []int32) int64 {
	r.IDs = append(r.IDs, ids...)
	r.Offsets = append(r.Offsets, int64(len(r.IDs)))
	return int64(len(ids))
}

func (c *config) sim() (sim.Config, error) {
	semantics, err := semanticsByName(c.Semantics)
	return sim.Config{
		Semantics:                 semantics,
		MaxNumSeqs:                c.MaxNumSeqs,
		MaxNumBatchedTokens:       c.MaxNumBatchedTokens,
		BlockSize:                 c.BlockSize,
		NumGPUBlocks:              c.NumGPUBlocks,
		MaxModelLen:               c.MaxModelLen,
		EnablePrefixCaching:       c.EnablePrefixCaching,
		EnableChunkedPrefill:      c.EnableChunkedPrefill,
		LongPrefillTokenThreshold: c.LongPrefillTokenThreshold,
		ReserveFullISL:            c.ReserveFullISL,
		Watermark:                 c.Watermark,
		AsyncScheduling:           c.AsyncScheduling,
		HorizonS:                  math.Inf(1),
	}, err
}

func semanticsByName(name string) (sim.Semantics, error) {
	switch name {
	case "blis-2025-07":
		return sim.BLIS202507, nil
	case "vllm-v1":
		return sim.VLLMV1, nil
	case "vllm-v1-0.9.1":
		return sim.VLLMV1_0_9_1, nil
	}
	return 0, fmt.Errorf("unknown semantics %q", name)
}

// open prepares the simulator of the file's workload.
func (in *input) open() (*sim.Simulator, error) {
	c, err := in.Config.sim()
	if err != nil {
		return nil, err
	}
	return sim.New(in.workload(), c)
}

func params(coeffs, overheads []float64) (*sim.Params, error) {
	if len(coeffs) != sim.NumQuadratic || len(overheads) != sim.NumOverheads {
		return nil, fmt.Errorf("%d coeffs and %d overheads_us, expected %d and %d",
			len(coeffs), len(overheads), sim.NumQuadratic, sim.NumOverheads)
	}
	p := &sim.Params{Overheads: [sim.NumOverheads]float64(overheads)}
	copy(p.Coeffs[:], coeffs)
	return p, nil
}
