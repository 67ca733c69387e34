"""Simulate the bundled experiment with its baseline, fit it, and predict with the fit."""

from pysimbind import load_experiment, simulate
from pysimbind.fit import fit

experiment = load_experiment("exp1_30rr")
baseline = experiment.baseline
ttft, e2e = simulate(baseline.coeffs, baseline.overheads, experiment.workload, experiment.config)
print(f"baseline: first TTFT {ttft[0]:.4f} s, mean E2E {e2e.mean():.3f} s")

result = fit(experiment)
print(result.report())
predicted = result.predict(experiment)
print(f"mean E2E: measured {experiment.e2e.mean():.3f} s, fitted {predicted.e2e.mean():.3f} s")
