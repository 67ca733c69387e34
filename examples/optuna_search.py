"""Fit a model of four terms with optuna's TPE sampler, which proposes one candidate at a time.

Needs optuna: ``pip install '.[optimisers]'``.
"""

import optuna

from pysimbind import Objective, load_experiment

# Parameters to search, with their upper bounds. No other parameters can replace these.
UPPER = {
    "intercept": 0.05,  # s
    "sum_decode_tokens": 0.005,
    "sum_prefill_tokens": 0.0005,
    "out": 0.005,
    "vllm_overhead": 20_000,  # us
}
HELD = {"schedule_time": 0, "update_time": 0, "queue_overhead": 0}

optuna.logging.set_verbosity(optuna.logging.WARNING)

with Objective(load_experiment("vllm-cpu-sync-r3"), model="small") as objective:

    def loss(trial: optuna.Trial) -> float:
        """Candidates may be mappings by name; infinity is for those that can't be simulated."""
        return objective(HELD | {name: trial.suggest_float(name, 0, UPPER[name]) for name in UPPER})

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(loss, n_trials=300)

print(f"{study.best_value:.4f} {objective.loss.unit} after {objective.nfev} evaluations")
for name, value in study.best_params.items():
    print(f"{name:20s} {value:.4g} {objective.model.unit(name)}")
