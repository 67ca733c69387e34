"""Fit with an optimiser of your own: here scipy's Nelder-Mead.

``Objective`` is a plain function of the parameter vector. An optimiser that proposes many
candidates at once should give them to ``Objective.batch`` as an array [N, names].
"""

import numpy as np
from scipy.optimize import minimize

from pysimbind import Objective, load_experiment

experiment = load_experiment("exp1_30rr")
space = experiment.bounds["original"]

with Objective(experiment, loss="original") as objective:

    def loss(u: np.ndarray) -> float:
        """Square the cube: most coefficients are orders of magnitude below their upper bound."""
        return objective(space.from_unit(u**2))

    middle = np.full(len(space.names), 0.5)
    found = minimize(
        loss,
        middle,
        method="Nelder-Mead",
        bounds=[(0, 1)] * len(middle),
        options={"maxfev": 5000, "xatol": 1e-4, "fatol": 1e-7},
    )
    print(f"baseline {objective(experiment.baseline):.3e} s^2")
    print(f"found    {found.fun:.3e} s^2 after {objective.nfev} evaluations")
    print(f"caveat: {experiment.caveat}")

for name, value in zip(space.names, space.from_unit(found.x**2), strict=True):
    print(f"{name:40s} {value:.4g}")
