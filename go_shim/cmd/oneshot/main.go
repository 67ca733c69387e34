// Command oneshot simulates one candidate per process: a JSON file in, text out. It is the way of
// the original experiment, rebuilt with the reference engine of this project, for the benchmarks to
// compare with. Latencies are printed in microseconds, in request order; NaN stands for never.
//
//	oneshot FILE
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"pysimbind/sim"
)

const (
	exitOK = iota
	exitFailed
	exitBadInput
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprintln(stderr, "usage: oneshot FILE")
		return exitBadInput
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		fmt.Fprintf(stderr, "oneshot: %v\n", err)
		return exitFailed
	}
	r, err := simulate(data)
	if err != nil {
		fmt.Fprintf(stderr, "oneshot: %s: %v\n", args[0], err)
		return exitBadInput
	}
	if _, err := fmt.Fprintf(stdout, "TTFTs: %s\nE2Es: %s\n", list(r.TTFT), list(r.E2E)); err != nil {
		fmt.Fprintf(stderr, "oneshot: %v\n", err)
		return exitFailed
	}
	return exitOK
}

func simulate(data []byte) (*sim.Result, error) {
	in, err := parse(data)
	if err != nil {
		return nil, err
	}
	s, err := in.open()
	if err != nil {
		return nil, err
	}
	p, err := params(in.Coeffs, in.Overheads)
	if err != nil {
		return nil, err
	}
	r := newResult(s.NumRequests())
	// The original program walked every step, as the reference engine does.
	return r, s.Run(p, sim.Reference, r)
}

func newResult(n int) *sim.Result {
	return &sim.Result{TTFT: make([]float64, n), E2E: make([]float64, n), NoPeak: true}
}

// list spells latencies out in whole microseconds, rounded as numpy does.
func list(seconds []float64) string {
	var b strings.Builder
	b.WriteString("[ ")
	for _, s := range seconds {
		if math.IsNaN(s) {
			b.WriteString("NaN ")
		} else {
			fmt.Fprintf(&b, "%d ", int64(math.RoundToEven(s*1e6)))
		}
	}
	b.WriteString("]")
	return b.String()
}
