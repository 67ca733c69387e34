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

type config struct {
	MaxNumSeqs          int64 `json:"max_num_seqs"`
	MaxNumBatchedTokens int64 `json:"max_num_batched_tokens"`
	BlockSize           int64 `json:"block_size"`
	NumGPUBlocks        int64 `json:"num_gpu_blocks"` // 0: unlimited
	EnablePrefixCaching bool  `json:"enable_prefix_caching"`
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

func (c *config) sim() sim.Config {
	return sim.Config{
		Semantics:           sim.BLIS202507,
		MaxNumSeqs:          c.MaxNumSeqs,
		MaxNumBatchedTokens: c.MaxNumBatchedTokens,
		BlockSize:           c.BlockSize,
		NumGPUBlocks:        c.NumGPUBlocks,
		EnablePrefixCaching: c.EnablePrefixCaching,
		HorizonS:            math.Inf(1),
	}
}

func params(coeffs, overheads []float64) (*sim.Params, error) {
	if len(coeffs) != sim.NumCoeffs || len(overheads) != sim.NumOverheads {
		return nil, fmt.Errorf("%d coeffs and %d overheads_us, expected %d and %d",
			len(coeffs), len(overheads), sim.NumCoeffs, sim.NumOverheads)
	}
	return &sim.Params{
		Coeffs:    [sim.NumCoeffs]float64(coeffs),
		Overheads: [sim.NumOverheads]float64(overheads),
	}, nil
}
