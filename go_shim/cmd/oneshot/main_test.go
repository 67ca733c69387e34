package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// valid is a server that is free when each of its requests comes; a step takes 10 ms.
const valid = `{
	"config": {"semantics": "blis-2025-07", "max_num_seqs": 4, "max_num_batched_tokens": 64, "block_size": 4},
	"coeffs": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.01],
	"overheads_us": [1, 20, 300, 4000],
	"requests": [
		{"arrival_s": 0, "prompt_token_ids": [5, 6, 7], "output_token_ids": [8]},
		{"arrival_s": 1, "prompt_token_ids": [9, 6, 7], "output_token_ids": [1, 2, 3]}
	]
}`

func runOn(t *testing.T, text string) (code int, stdout, stderr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "case.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, err bytes.Buffer
	code = run([]string{path}, &out, &err)
	return code, out.String(), err.String()
}

// TestRun compares with sums by hand: the first token comes a step (10,000 µs) and the overheads
// vllm, schedule and update (4,021) after the arrival, and each further one a step and the
// overheads queue, schedule and update (10,321) later.
func TestRun(t *testing.T) {
	code, stdout, stderr := runOn(t, valid)
	const want = "TTFTs: [ 14021 14021 ]\nE2Es: [ 14021 34663 ]\n"
	if code != exitOK || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
	}
}

// TestSemantics tells the three apart by steps counted by hand. A step takes 10 ms and has a budget
// of 4 tokens; two prompts of 3 tokens come at once, a third comes alone. blis-2025-07 lets the
// second overdraw the budget; vllm-v1 gives it what is left of it. With a threshold of 2 tokens, the
// first two share the budget, and only 0.9.1 cuts the one that is alone.
func TestSemantics(t *testing.T) {
	for _, c := range []struct{ semantics, threshold, want string }{
		{"blis-2025-07", "0", "[ 10000 10000 10000 ]"},
		{"vllm-v1", "0", "[ 10000 20000 10000 ]"},
		{"vllm-v1", "2", "[ 20000 20000 10000 ]"},
		{"vllm-v1-0.9.1", "2", "[ 20000 20000 20000 ]"},
	} {
		text := fmt.Sprintf(`{
			"config": {"semantics": %q, "max_num_seqs": 4, "max_num_batched_tokens": 4, "block_size": 4,
				"enable_chunked_prefill": true, "long_prefill_token_threshold": %s},
			"coeffs": [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.01],
			"overheads_us": [0, 0, 0, 0],
			"requests": [
				{"arrival_s": 0, "prompt_token_ids": [5, 6, 7], "output_token_ids": [8]},
				{"arrival_s": 0, "prompt_token_ids": [9, 6, 7], "output_token_ids": [1]},
				{"arrival_s": 1, "prompt_token_ids": [4, 3, 2], "output_token_ids": [1]}
			]
		}`, c.semantics, c.threshold)
		code, stdout, stderr := runOn(t, text)
		want := "TTFTs: " + c.want + "\nE2Es: " + c.want + "\n"
		if code != exitOK || stdout != want || stderr != "" {
			t.Errorf("%s, threshold %s: exit code %d, %q, %q; want %q",
				c.semantics, c.threshold, code, stdout, stderr, want)
		}
	}
}

// TestNever: a prompt that is larger than the pool waits for ever.
func TestNever(t *testing.T) {
	text := strings.Replace(valid, `"block_size": 4`, `"block_size": 1, "num_gpu_blocks": 2`, 1)
	code, stdout, stderr := runOn(t, text)
	const want = "TTFTs: [ NaN NaN ]\nE2Es: [ NaN NaN ]\n"
	if code != exitOK || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"not JSON":        {`}`, ``, "unexpected EOF"},
		"more than JSON":  {"]\n}", "]\n} 1", "more in the file"},
		"unknown key":     {`"coeffs"`, `"coefs"`, `unknown field "coefs"`},
		"few coeffs":      {`[0, 0, 0, `, `[0, 0, `, "14 coeffs and 4 overheads_us, expected 15 and 4"},
		"many overheads":  {`4000]`, `4000, 1]`, "15 coeffs and 5 overheads_us"},
		"negative id":     {`[5, 6, 7]`, `[5, -6, 7]`, "prompt token id -6"},
		"no semantics":    {`"semantics": "blis-2025-07", `, ``, `unknown semantics ""`},
		"no seats":        {`"max_num_seqs": 4`, `"max_num_seqs": 0`, "max_num_seqs is 0"},
		"fractional id":   {`[8]`, `[8.5]`, "8.5"},
		"distant arrival": {`"arrival_s": 1`, `"arrival_s": 1e10`, "request 1: arrival"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(valid, c.old) {
				t.Fatalf("%q is not in the valid input", c.old)
			}
			code, stdout, stderr := runOn(t, strings.Replace(valid, c.old, c.new, 1))
			if code != exitBadInput || stdout != "" || !strings.Contains(stderr, c.says) ||
				strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q; want one line with %q", code, stdout, stderr, c.says)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, exitBadInput, "usage: oneshot FILE\n"},
		{[]string{"a", "b"}, exitBadInput, "usage: oneshot FILE\n"},
		{[]string{filepath.Join(t.TempDir(), "none.json")}, exitFailed, "no such file"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(c.args, &stdout, &stderr)
		if code != c.code || stdout.Len() > 0 || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", c.args, code, stderr.String(), c.code, c.says)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestUnwritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "case.json")
	if err := os.WriteFile(path, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if code := run([]string{path}, brokenPipe{}, &stderr); code != exitFailed || stderr.Len() == 0 {
		t.Errorf("exit code %d, %q; want %d and a reason", code, stderr.String(), exitFailed)
	}
}
