package sim

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
