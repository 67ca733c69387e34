package sim

// StepTrace is what a step did. A batch that preempted requests and scheduled none is reported too,
// without requests and duration; it is not counted as a step.
type StepTrace struct {
	// StartUS is when the step began, in µs.
	StartUS float64
	// ComposedUS is when the batch was scheduled: before StartUS if scheduling is asynchronous.
	ComposedUS float64
	// DurationUS is the length of the step, in µs.
	DurationUS float64

	// Requests is who took part, in the scheduler's order.
	Requests []StepRequest
	// Preempted is who was preempted while the batch was scheduled.
	Preempted []int

	// Decodes to Attention are the quantities of the step-time model; see batch.
	Decodes       int64
	PrefillTokens int64
	MaxPrefill    int64
	Prefills      int64
	Context       int64
	Attention     int64

	// Running is how many requests had a seat right after scheduling.
	Running int
	// Waiting is how many requests were in the queue then.
	Waiting int
	// KVUsed is how many KV blocks were in use then.
	KVUsed int64
}

// StepRequest is a request's share of a step.
type StepRequest struct {
	Request int
	Tokens  int64
	// CachedTokens is the tokens found in the prefix cache, where the step admitted the request.
	CachedTokens int64
	// Resumed tells that the step admitted the request again, after a preemption.
	Resumed bool
}

// Columns of Trace.Times, in seconds.
const (
	TimeStart = iota
	TimeComposed
	TimeDuration
	TimeColumns
)

// Columns of Trace.Counts.
const (
	CountDecodeTokens = iota
	CountPrefillTokens
	CountMaxPrefillTokens
	CountNumPrefills
	CountContextTokens
	CountAttentionPairs
	CountRunning
	CountWaiting
	CountKVBlocks
	CountCachedTokens
	CountPreemptions
	CountColumns
)

// Columns of Trace.Entries.
const (
	EntryStep = iota
	EntryRequest
	EntryTokens // 0: the step preempted the request
	EntryCachedTokens
	EntryColumns
)

// Trace is what each step of a run did, row by row.
type Trace struct {
	Times   []float64 // [steps, TimeColumns]
	Counts  []int64   // [steps, CountColumns]
	Entries []int64   // [n, EntryColumns]: the requests of each step, then those it preempted
}

// Trace simulates one candidate by the reference engine and records its steps.
func (s *Simulator) Trace(terms *Terms, coeffs, overheads []float64) (*Trace, error) {
	var p Params
	terms.scatter(&p, coeffs, overheads)
	n := s.NumRequests()
	t := &Trace{}
	r := Result{TTFT: make([]float64, n), E2E: make([]float64, n), OnStep: t.record}
	return t, s.Run(&p, Reference, &r)
}

func (t *Trace) record(s StepTrace) {
	var cached int64
	number := int64(len(t.Times) / TimeColumns)
	for _, q := range s.Requests {
		cached += q.CachedTokens
		t.Entries = append(t.Entries, number, int64(q.Request), q.Tokens, q.CachedTokens)
	}
	for _, i := range s.Preempted {
		t.Entries = append(t.Entries, number, int64(i), 0, 0)
	}
	t.Times = append(t.Times,
		s.StartUS/microsPerSecond, s.ComposedUS/microsPerSecond, s.DurationUS/microsPerSecond)
	t.Counts = append(t.Counts,
		s.Decodes, s.PrefillTokens, s.MaxPrefill, s.Prefills, s.Context, s.Attention,
		int64(s.Running), int64(s.Waiting), s.KVUsed, cached, int64(len(s.Preempted)))
}
