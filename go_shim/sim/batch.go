package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Candidates is a batch of n candidates for R requests, and where their results go. All arrays belong
// to the caller and are row-major, one row a candidate. Those after Summary may be nil.
type Candidates struct {
	// Terms are those of Coeffs and of the derivatives.
	Terms Terms
	// Coeffs [n, Terms.Count] is in seconds a unit of the term's feature.
	Coeffs []float64
	// Overheads [n, NumOverheads] is in µs.
	Overheads []float64
	// ArrivalS [n, R] is when requests are sent, in seconds; nil: as the workload has it.
	ArrivalS []float64

	// TTFT, E2E [n, R] and the fields below are as in Result.
	TTFT, E2E []float64
	// Summary [n, SummaryColumns] is the numbers of each run.
	Summary []int64
	// Detail [n, DetailRows, R] is the whole numbers of each request.
	Detail []int32
	// Sent is Result.SentS [n, R].
	Sent []float64
	// Scheduled is Result.ScheduledS [n, R].
	Scheduled []float64
	// JacTTFT, JacE2E [n, R, Terms.Count + NumOverheads] are both nil, or neither.
	JacTTFT, JacE2E []float64
	// Renewal is the kind of the derivatives.
	Renewal bool
}

// Columns of Candidates.Summary.
const (
	SummaryOutcome = iota
	SummarySteps
	SummaryPeakKV
	SummaryEngine
	SummaryColumns
)

// Rows of Candidates.Detail, as the fields of Result.
const (
	DetailStatus = iota
	DetailCached
	DetailPreemptions
	DetailGenerated
	DetailFirstStep
	DetailLastStep
	DetailBusyPeriod
	DetailRows
)

// RunBatch simulates n candidates on at most workers goroutines (0: one per processor).
func (s *Simulator) RunBatch(n int, c *Candidates, engine Engine, workers int) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, n)
	if workers > 1 {
		shared := *c // with the workers, which makes it garbage: a lone run leaves none
		return s.runParallel(n, &shared, engine, workers)
	}
	w := s.workers.Get().(*worker)
	defer s.dismiss(w)
	for i := range n {
		if err := w.run(s, i, c, engine); err != nil {
			return err
		}
	}
	return nil
}

// rowsPerGrab is how many candidates a worker takes at a time: enough to make the shared counter
// cheap, few enough to keep the workers evenly busy.
const rowsPerGrab = 8

func (s *Simulator) runParallel(n int, c *Candidates, engine Engine, workers int) error {
	var (
		next  atomic.Int64
		group sync.WaitGroup
		guard failures
	)
	work := func() {
		defer guard.recover()
		w := s.workers.Get().(*worker)
		defer s.dismiss(w)
		for {
			first := int(next.Add(rowsPerGrab)) - rowsPerGrab
			for i := first; i < min(first+rowsPerGrab, n); i++ {
				if err := w.run(s, i, c, engine); err != nil {
					guard.set(err)
					return
				}
			}
			if first >= n {
				return
			}
		}
	}
	for range workers - 1 {
		group.Add(1)
		go func() {
			defer group.Done()
			work()
		}()
	}
	work() // here: a thread that is awake need not be woken
	group.Wait()
	if guard.panicked != nil {
		panic(guard.panicked) // for the caller to recover: a panic on a worker would end the process
	}
	return guard.err
}

// failures keeps the first error and the first panic of a group of workers.
type failures struct {
	mu       sync.Mutex
	err      error
	panicked any
}

func (f *failures) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *failures) recover() {
	if p := recover(); p != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.panicked = p
	}
}

// worker is what a run takes and gives, kept from one candidate to the next: left to the collector,
// the two would have it stop all workers every few thousand candidates.
type worker struct {
	params Params
	result Result
}

// dismiss keeps a worker for the next batch, which may have other terms, without the caller's arrays,
// which the caller may free.
func (s *Simulator) dismiss(w *worker) {
	*w = worker{}
	s.workers.Put(w)
}

// run simulates candidate i of a batch.
func (w *worker) run(s *Simulator, i int, c *Candidates, engine Engine) error {
	n := s.NumRequests()
	c.Terms.scatter(&w.params, row(c.Coeffs, i, c.Terms.Count), row(c.Overheads, i, NumOverheads))
	if c.ArrivalS != nil {
		var err error
		if s, err = s.at(row(c.ArrivalS, i, n)); err != nil {
			return err
		}
	}
	r := &w.result
	c.point(r, i, n)
	if err := s.Run(&w.params, engine, r); err != nil {
		return err
	}
	summary := row(c.Summary, i, SummaryColumns)
	summary[SummaryOutcome] = int64(r.Outcome)
	summary[SummarySteps] = r.Steps
	if summary[SummaryPeakKV] = r.PeakKVBlocks; r.NoPeak {
		summary[SummaryPeakKV] = PeakUnknown // whichever engine it was
	}
	summary[SummaryEngine] = int64(r.Engine)
	return nil
}

// point makes r the result of candidate i, of n requests.
func (c *Candidates) point(r *Result, i, n int) {
	cells := n * (c.Terms.Count + NumOverheads)
	*r = Result{
		TTFT: row(c.TTFT, i, n), E2E: row(c.E2E, i, n),
		SentS: row(c.Sent, i, n), ScheduledS: row(c.Scheduled, i, n),
		JacTTFT: row(c.JacTTFT, i, cells), JacE2E: row(c.JacE2E, i, cells),
		Terms: c.Terms, Renewal: c.Renewal, NoPeak: c.Detail == nil,
	}
	if c.Detail != nil {
		detail := row(c.Detail, i, DetailRows*n)
		r.Status = row(detail, DetailStatus, n)
		r.Cached = row(detail, DetailCached, n)
		r.Preemptions = row(detail, DetailPreemptions, n)
		r.Generated = row(detail, DetailGenerated, n)
		r.FirstStep = row(detail, DetailFirstStep, n)
		r.LastStep = row(detail, DetailLastStep, n)
		r.BusyPeriod = row(detail, DetailBusyPeriod, n)
	}
}

// row is row i of a matrix of n columns, or nil.
func row[T any](matrix []T, i, n int) []T {
	if matrix == nil {
		return nil
	}
	return matrix[i*n : (i+1)*n : (i+1)*n]
}
