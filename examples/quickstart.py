"""Fit a measured run, predict another load with it, and look at a single simulation."""

from pysimbind import load_experiment, simulate
from pysimbind.fit import fit

measured = load_experiment("vllm-cpu-sync-r9")  # 9 requests/s
result = fit(measured, holdout="alternate")
print(result.report())

other = load_experiment("vllm-cpu-sync-r3")  # the same server at 3 requests/s
predicted = result.predict(other)
print(f"mean E2E at 3/s: measured {other.e2e.mean():.3f} s, predicted {predicted.e2e.mean():.3f} s")

original = load_experiment("exp1_30rr")  # brings 15 coefficients and 4 overheads: a baseline
known = original.baseline
ttft, e2e = simulate(known.coeffs, known.overheads, original.workload, original.config)
print(f"baseline of exp1_30rr: first TTFT {ttft[0]:.4f} s, mean E2E {e2e.mean():.3f} s")
print(f"caveat: {original.caveat}")
