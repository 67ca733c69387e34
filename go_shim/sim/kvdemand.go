package sim

// kvDemand follows the number of KV blocks in use without touching requests one by one. A request
// that holds a + s tokens at step s holds ceil((a+s)/block) blocks, for a constant a; so the sum
// over the running requests follows from the number of them by a mod block, and the sum of a div
// block. Demand only grows between completions, so sampling before each completion finds its peak.
type kvDemand struct {
	divider      // by the block size
	follow  bool // or else blocks are not counted
	peak    int64
	phases  []int64 // running requests by a mod block
	quotas  int64   // sum of floor(a/block)
	tokens  int64   // sum of a
	running int64   // where blocks are counted
}

// context is how many tokens all running requests have computed before they decode in a step.
func (k *kvDemand) context(step, running int64) int64 { return k.tokens + running*(step-1) }

func (k *kvDemand) reset(by divider, phases []int64, follow bool) {
	*k = kvDemand{divider: by, follow: follow, peak: PeakUnknown, phases: phases}
	if follow {
		clear(phases)
		k.peak = 0
	}
}

func (k *kvDemand) join(a int64) {
	k.tokens += a
	if k.follow {
		k.count(a, 1)
	}
}

func (k *kvDemand) leave(a int64) {
	k.tokens -= a
	if k.follow {
		k.count(a, -1)
	}
}

// held is the number of blocks that a number of tokens take, where that is followed.
func (k *kvDemand) held(tokens int64) int64 {
	if !k.follow {
		return 0
	}
	return k.blocks(tokens)
}

func (k *kvDemand) count(a, sign int64) {
	quota, phase := k.split(a)
	k.phases[phase] += sign
	k.quotas += sign * quota
	k.running += sign
}

// sample notes the demand at a step, of the running requests and some blocks besides.
func (k *kvDemand) sample(step, besides int64) {
	if k.follow {
		k.raise(step, besides)
	}
}

// raise raises the peak to the demand at a step. Most samples are settled by a bound: no request holds
// more than block-1 slots that it does not fill.
func (k *kvDemand) raise(step, besides int64) {
	most := k.tokens + k.running*(step+k.size-1) + besides*k.size
	if most < (k.peak+1)*k.size {
		return
	}
	quota, rest := k.split(step)
	// A request of phase p has p+rest tokens beyond its quotas: they need a block each, but none
	// where there are none, and two where they are more than a block.
	demand := besides + k.quotas + k.running*(quota+1)
	if rest == 0 {
		demand -= k.phases[0]
	}
	for _, n := range k.phases[min(k.size-rest+1, k.size):] {
		demand += n
	}
	k.peak = max(k.peak, demand)
}
