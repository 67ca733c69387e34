"""Look inside a run: what each step did, and where the slowest request spent its time."""

import numpy as np

from pysimbind import ServerConfig, Simulator, Workload, load_experiment

rng = np.random.default_rng(1)
arrival_s = np.cumsum(rng.exponential(1 / 40, 200))
workload = Workload(arrival_s, rng.integers(100, 2000, 200), rng.integers(20, 200, 200))
config = ServerConfig(max_num_seqs=64, num_gpu_blocks=3000)
params = {**load_experiment("exp1_30rr").baseline.as_dict(), "num_prefillss2": 0.0}

with Simulator(workload, config) as simulator:
    result = simulator.run(params, trace=True)
trace = result.trace

print(f"{result.outcome.name}: {len(trace)} steps, {result.preemptions.sum()} preemptions")
print("step  start [s]    ms  decodes  prefill  running  waiting  blocks  preempted")
for i in np.argsort(trace.duration_s)[-5:][::-1]:
    print(
        f"{i:4} {trace.start_s[i]:10.3f} {1e3 * trace.duration_s[i]:5.1f} "
        f"{trace.decode_tokens[i]:8} {trace.prefill_tokens[i]:8} {trace.running[i]:8} "
        f"{trace.waiting[i]:8} {trace.kv_blocks[i]:7} {trace.preemptions[i]:10}"
    )

slowest = int(np.argmax(result.ttft))
print(f"slowest first token: request {slowest}, {result.ttft[slowest]:.3f} s")
print(f"  {trace.queue_time_s[slowest]:.3f} s until its first step")
print(f"  {trace.prefill_time_s[slowest]:.3f} s from there to its first token")
print(f"  {1e3 * trace.inter_token_s[slowest]:.1f} ms from token to token")
