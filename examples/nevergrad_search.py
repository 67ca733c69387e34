"""Fit with nevergrad's differential evolution. One batch simulates each generation.

Needs nevergrad: ``pip install '.[optimisers]'``.
"""

import nevergrad as ng
import numpy as np

from pysimbind import Objective, load_experiment

POPULATION = 40

experiment = load_experiment("exp1_30rr")
space = experiment.bounds["original"]
middle = ng.p.Array(init=np.full(len(space.names), 0.5), lower=0, upper=1)
middle.random_state.seed(0)
optimiser = ng.optimizers.TwoPointsDE(middle, budget=75 * POPULATION, num_workers=POPULATION)

with Objective(experiment) as objective:
    for _ in range(optimiser.budget // POPULATION):
        asked = [optimiser.ask() for _ in range(POPULATION)]
        # Squares: most coefficients are orders of magnitude below their upper bound.
        losses = objective.batch(space.from_unit(np.array([each.value for each in asked]) ** 2))
        for each, value in zip(asked, losses, strict=True):
            optimiser.tell(each, value)

    found = space.from_unit(optimiser.provide_recommendation().value ** 2)
    print(f"baseline {objective(experiment.baseline):.4f} {objective.loss.unit}")
    print(f"found    {objective(found):.4f} after {optimiser.num_tell} evaluations")
    print(f"caveat: {experiment.caveat}")

for name, value in zip(space.names, found, strict=True):
    print(f"{name:40s} {value:.4g}")
