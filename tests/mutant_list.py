"""Faults to plant in the Go simulator, each a wrong rule or a proof that proves too much.

The old text stands exactly once in the sources of ``go_shim/sim``, or in the file that is named.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A fault: a text of the sources, and what stands there instead."""

    name: str
    old: str
    new: str
    file: str = ""  # where the text occurs in more than one


# What the plain leap engine of vllm-v1 needs to know before a run.
PLAIN_PROOF = [
    Mutant(
        "the watermark left out of the leap proof",
        "v.together+v.watermark <= v.usable",
        "v.together <= v.usable",
    ),
    Mutant(
        "one block too few for those who run together",
        "v.together+v.watermark <= v.usable",
        "v.together+v.watermark <= v.usable+1",
    ),
    Mutant(
        "one seat too few in the leap proof",
        "v.shares, v.together = v.sharing(), sumLargest(held, int(seats))",
        "v.shares, v.together = v.sharing(), sumLargest(held, int(max(seats-1, 1)))",
    ),
    Mutant(
        "one token too few in what a request holds",
        "return ceilDiv(input+output-1, blockSize)",
        "return ceilDiv(input+output-2, blockSize)",
    ),
    Mutant("a prompt of max_model_len leaps", "if n >= v.maxLen ||", "if n > v.maxLen ||"),
    Mutant(
        "a prompt one token beyond the threshold leaps",
        "v.threshold > 0 && n > v.threshold ||",
        "v.threshold > 0 && n > v.threshold+1 ||",
    ),
    Mutant(
        "a whole prompt one token beyond the budget leaps",
        "!v.rules.chunked && n > v.budget {",
        "!v.rules.chunked && n > v.budget+1 {",
    ),
    Mutant(
        "what outputs share taken for prompts",
        "if v.chains.sharedBlocks(i)*v.blockSize > n {",
        "if v.chains.sharedBlocks(i)*v.blockSize > n+1 {",
    ),
    Mutant(
        "shared prefixes of whole prompts leap",
        "!v.chains.anyShared || !v.rules.chunked",
        "!v.chains.anyShared",
    ),
    Mutant(
        "blocks of any size leap",
        "seats <= v.budget && v.blockSize <= maxLeapBlock",
        "seats <= v.budget",
    ),
    Mutant(
        "the budget need not cover the seats",
        "seats <= v.budget && v.blockSize",
        "v.blockSize",
    ),
]

# How long a prefix is believed to be cached.
PREFIX = [
    Mutant(
        "the prefix-survival bound weakened by one block", "> run.lasting {", "> run.lasting+1 {"
    ),
    Mutant(
        "the prefix-survival bound without those who run together",
        "v.usable - v.together + 1; all",
        "v.usable + 1; all",
    ),
    Mutant(
        "a pool for all but three blocks is believed never to evict",
        "all <= v.usable+2 {",
        "all <= v.usable+3 {",
    ),
    Mutant(
        "a prefix believed to be found a block later than it was",
        "h.seen[e] = taken",
        "h.seen[e] = taken + 1",
    ),
    Mutant(
        "a repeated prompt computes nothing in the leap engine",
        "(q.input-1)/run.blockSize",
        "q.input/run.blockSize",
    ),
]

# What the plain leap engine has to see in a run, and how it counts.
PLAIN_RUN = [
    Mutant(
        "a step may take less than no time",
        "over.least = max(0, -over.gap)",
        "over.least = max(0, -over.gap) - 1",
    ),
    Mutant(
        "a step and its gap may be too long",
        "min(maxStepTicks, maxStepTicks-over.gap) - 1",
        "maxStepTicks",
    ),
    Mutant(
        "a step may begin beyond the horizon",
        "if start > run.horizon {\n\t\trun.r.Outcome = Horizon",
        "if start > run.horizon+1 {\n\t\trun.r.Outcome = Horizon",
    ),
    Mutant(
        "only the first of the skipped steps is looked at", "context+(most-1)*decodes)", "context)"
    ),
    Mutant(
        "a seat too many in the leap engine",
        "run.head < run.arrived && run.seats < run.maxSeqs && budget > 0",
        "run.head < run.arrived && run.seats <= run.maxSeqs && budget > 0",
    ),
    Mutant(
        "a request sent at a step misses it",
        "for n > 1 && last >= t {",
        "for n > 1 && last > t {",
    ),
    Mutant(
        "a request sent at a step misses it in the skip engine",
        "for n > 1 && c.start(n-1) >= t {",
        "for n > 1 && c.start(n-1) > t {",
    ),
    Mutant(
        "the wheel of last tokens turns too far",
        "steps>>w.shift >= wheelSlots-1",
        "steps>>w.shift >= wheelSlots+1",
    ),
    Mutant(
        "the peak of blocks settled by too wide a bound",
        "if most < (k.peak+1)*k.size {",
        "if most < (k.peak+2)*k.size {",
    ),
]

# The rules of vLLM's schedulers, in what all engines share.
RULES = [
    Mutant(
        "the watermark of 0.9.1 not zeroed",
        "v.watermark, v.maxComputed = 0, v.maxLen",
        "v.maxComputed = v.maxLen",
    ),
    Mutant(
        "0.9.1 stops before max_model_len",
        "v.watermark, v.maxComputed = 0, v.maxLen",
        "v.watermark = 0",
    ),
    Mutant("0.9.1 spares a lone request the threshold", "thresholdFrom: 1,", "thresholdFrom: 2,"),
    Mutant("a lone request is cut by the threshold", "thresholdFrom: 2,", "thresholdFrom: 1,"),
    Mutant("0.9.1 frees uncached blocks to the head", "freeToTail: true", "freeToTail: false"),
    Mutant("asynchronous scheduling composes no batch ahead", "r.depth = 2", "r.depth = 1"),
    Mutant("the null block is used", "v.usable = numGPUBlocks - 1", "v.usable = numGPUBlocks"),
    Mutant(
        "reserve_full_isl ignored",
        "wholeSequence: c.ReserveFullISL",
        "wholeSequence: false",
    ),
    Mutant("reserve_full_isl always on", "wholeSequence: c.ReserveFullISL", "wholeSequence: true"),
    Mutant(
        "an output goes one token beyond max_model_len",
        "min(v.output[i], v.maxLen-v.input[i])",
        "min(v.output[i], v.maxLen-v.input[i]+1)",
    ),
    Mutant(
        "patience shorter than the longest prefill and its repeat",
        "2*(v.input[i]+v.output[i])+8",
        "(v.input[i]+v.output[i])+8",
    ),
    Mutant("the hinge one token later", "hingeTokens = 256", "hingeTokens = 257"),
    Mutant(
        "a batch of one kind counts as mixed", "if prefills && b.decodes > 0 {", "if prefills {"
    ),
    Mutant(
        "renewal derivatives forget the queue",
        "if o.blocked && t > o.from {",
        "if o.blocked && t >= o.from {",
    ),
    Mutant(
        "renewal derivatives take every request for one in time",
        "late = min((t-a)/period, 1)",
        "late = 0",
    ),
    Mutant(
        "renewal derivatives count a step too many",
        "s.subtract(step, float64(back), count)",
        "s.subtract(step, float64(back+1), count)",
    ),
]

# Their reference engine.
REFERENCE = [
    Mutant("a repeated prompt computes nothing", "(tokens-1)/k.blockSize", "tokens/k.blockSize"),
    Mutant(
        "a seat too many",
        "budget > 0 && int64(len(s.running)) < s.maxSeqs",
        "budget > 0 && int64(len(s.running)) <= s.maxSeqs",
    ),
    Mutant(
        "the watermark kept free while nobody runs",
        "if len(s.running) > 0 {\n\t\troom -= s.watermark",
        "if len(s.running) >= 0 {\n\t\troom -= s.watermark",
    ),
    Mutant(
        "a preempted request waits behind all others",
        "q.waiting.pushFront(i)",
        "q.waiting.pushBack(i)",
    ),
    Mutant(
        "freed blocks never go to the tail as they do in 0.9.1",
        "if k.freeToTail || k.blocks[id].chain != noChain {",
        "if k.blocks[id].chain != noChain {",
    ),
    Mutant(
        "the first block of a request is freed first",
        "for n := len(held) - 1; n >= 0; n-- {\n\t\tid := held[n]",
        "for n := range held {\n\t\tid := held[n]",
    ),
    Mutant(
        "the newest of equal cached blocks is hit",
        "if last, cached := k.oldest[chain]; cached {",
        "if last, cached := k.oldest[chain]; cached && last < 0 {",
    ),
    Mutant(
        "a token in flight is cached at once",
        "s.kv.cache(i, min(tokens, s.tokens(i)))",
        "s.kv.cache(i, tokens)",
    ),
]

# The skip engine.
SKIP = [
    Mutant(
        "the patience of the skip engine halved",
        "run.barren > run.patience",
        "run.barren > run.patience/2",
    ),
    Mutant("a head that just fits is hopeless", "least > run.room()", "least >= run.room()"),
    Mutant(
        "the skip engine keeps the watermark free while nobody runs",
        "if run.live > 0 {\n\t\treturn run.kv.free - run.watermark",
        "if run.live >= 0 {\n\t\treturn run.kv.free - run.watermark",
    ),
    Mutant(
        "the skip engine admits with a block too few",
        "h.unused <= run.room(), n",
        "h.unused <= run.room()+1, n",
    ),
    Mutant(
        "a repeated prompt computes nothing in the skip engine",
        "run.full(tokens-1)",
        "run.full(tokens)",
    ),
    Mutant(
        "a batch may lack a block",
        "if blocks > run.kv.free {\n\t\treturn 0, false",
        "if blocks > run.kv.free+1 {\n\t\treturn 0, false",
    ),
    Mutant("a stretch of decodes may lack a block", "\t\tif blocks < 0 {", "\t\tif blocks < -1 {"),
    Mutant(
        "a stretch of decodes takes a turn of blocks too few",
        "(most/run.size+1)*decodes <= blocks",
        "most/run.size*decodes <= blocks",
    ),
    Mutant(
        "a fill that lets the head in is seen a batch late",
        "k := (m.key+1)>>1 - run.composed",
        "k := (m.key+1)>>1 - run.composed + 1",
    ),
    Mutant(
        "whoever is sent waits for a seat that is free",
        "run.live >= run.maxSeqs || run.live >= run.budget",
        "run.live >= run.maxSeqs-1 || run.live >= run.budget",
    ),
    Mutant(
        "the skip engine applies the threshold a request too late",
        "run.waiting.len()) < run.rules.thresholdFrom",
        "run.waiting.len()) <= run.rules.thresholdFrom",
    ),
    Mutant("a block fills a moment late", "return 2 * number", "return 2*number + 1"),
    Mutant(
        "a block whose last token comes last fills a batch early",
        "return 2*number + 3",
        "return 2*number + 1",
    ),
    Mutant(
        "a preempted request's token in flight is cached",
        "return max(s.end, computed-1)",
        "return computed",
    ),
    Mutant(
        "a stretch runs beyond the horizon",
        "stepsBefore(math.Nextafter(run.horizon, math.Inf(1)), most)",
        "stepsBefore(math.Inf(1), most)",
    ),
    Mutant(
        "the skip engine buries uncached blocks as vLLM 0.32 does",
        "case k.freeToTail:",
        "case false:",
    ),
    Mutant(
        "the skip engine preempts the first",
        "victim := run.back",
        "victim := run.front",
    ),
]

# blis-2025-07.
BLIS = [
    Mutant(
        "two arrivals in one microsecond leap",
        "b.arrival[i] <= b.arrival[i-1]",
        "b.arrival[i] < b.arrival[i-1]",
    ),
    Mutant(
        "one block too few in the leap proof of blis-2025-07",
        "sumLargest(held, int(seats)) <= b.poolBlocks",
        "sumLargest(held, int(seats)) <= b.poolBlocks+1",
    ),
    Mutant(
        "the last token takes no slot",
        "b.input[i] + b.output[i] + b.blockSize - 1",
        "b.input[i] + b.output[i] + b.blockSize - 2",
    ),
    Mutant(
        "the budget of blis-2025-07 need not cover the seats",
        "seats <= b.budget && b.prefixes == nil",
        "b.prefixes == nil",
    ),
    Mutant("an arrival at a step misses it", "run.now-1)/period+1", "run.now)/period+1"),
    Mutant(
        "steps of blis-2025-07 go on beyond the horizon",
        "last > run.horizon || last",
        "last > run.horizon+1 || last",
    ),
    Mutant(
        "steps too long to be counted leap",
        "period > maxLeapPeriod ||",
        "period > 2*maxLeapPeriod ||",
    ),
    Mutant(
        "a seat too many in the leap engine of blis-2025-07",
        "run.running < run.maxSeqs; run.head++",
        "run.running <= run.maxSeqs; run.head++",
    ),
    Mutant("growing contexts leap", "if !ok || p.Coeffs[termContext] != 0 {", "if !ok {"),
    Mutant(
        "a prefill of blis-2025-07 wants a block to spare",
        "needed > k.total-k.used",
        "needed >= k.total-k.used",
    ),
]

MUTANTS = [*PLAIN_PROOF, *PREFIX, *PLAIN_RUN, *RULES, *REFERENCE, *SKIP, *BLIS]
