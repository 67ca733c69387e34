package sim

import "math"

const (
	// maxTokens bounds the token counts of one request, so that their squares are exact in a float64
	// and sums over steps fit in 64 bits.
	maxTokens = 1 << 26

	// maxSetting bounds the whole numbers of a configuration.
	maxSetting = math.MaxInt32

	// maxArrivalS bounds arrival times, in seconds (some 30 years), for the same reason as maxTokens.
	maxArrivalS = 1e9

	// maxStepTicks bounds one step, in µs (11 days). A longer step ends the run as NonFinite, so that
	// a wild candidate cannot overflow the clock unseen.
	maxStepTicks = 1e12

	// maxClock bounds a clock of whole µs. It is far beyond any horizon that one would ask for.
	maxClock = int64(1) << 60

	// maxLeapPeriod (19 hours, in µs) times maxTokens steps does not overflow such a clock.
	maxLeapPeriod = int64(1) << 36

	// maxLeapBlock bounds the block size of the quick engines, which keep a counter for each place in
	// a block. It is far above the block sizes that vLLM offers.
	maxLeapBlock = 4096
)
