"""Fit two loads at once, and predict each load with a fit to the other one."""

from pysimbind import load_experiment
from pysimbind.fit import fit

runs = [load_experiment(name) for name in ("vllm-cpu-sync-r3", "vllm-cpu-sync-r9")]
result = fit(runs, holdout="kfold")
print(result.report())

print()
for row in result.accuracy:
    if row.part == "held-out":
        e2e = row.accuracy.e2e
        print(f"{row.name}, unseen: E2E {e2e.mape:.1f} % off, its mean {e2e.mean:+.1f} %")
