"""Fit with your own optimiser: here scipy's L-BFGS-B, with gradients.

``Objective`` is a function of the parameter vector, and ``value_and_grad`` adds its gradient. An
optimiser that proposes many candidates at once should pass them to ``Objective.batch``, as an array
[N, names].
"""

import numpy as np
from scipy.optimize import minimize

from pysimbind import Objective, load_experiment

experiment = load_experiment("exp1_30rr")
space = experiment.bounds["original"]
width = space.upper - space.lower

with Objective(experiment, loss="original") as objective:

    def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
        """Square the cube: most coefficients are orders of magnitude below their upper bound."""
        value, gradient = objective.value_and_grad(space.from_unit(u**2))
        return value, gradient * width * 2 * u

    start = np.sqrt(np.clip(space.to_unit(experiment.baseline.vector), 1e-4, 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size)
    print(f"baseline {objective(experiment.baseline):.3e} s^2")
    print(f"found    {found.fun:.3e} s^2 after {found.nfev} evaluations")
    print(f"caveat: {experiment.caveat}")

for name, value in zip(space.names, space.from_unit(found.x**2), strict=True):
    print(f"{name:40s} {value:.4g}")
