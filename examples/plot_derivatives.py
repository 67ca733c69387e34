"""Draw derivatives and differences over the load: why busy servers need the kind "renewal".

Needs matplotlib: ``pip install '.[plot]'``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draws into files: no display is needed
import numpy as np
from matplotlib import pyplot as plt

from pysimbind import NAMES, ServerConfig, Simulator, Workload, load_experiment

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "derivatives_over_load.png"
RATES = (0.1, 0.3, 1, 3, 10, 20, 30, 40, 50, 80)  # requests/s; it saturates at about 45
INTERCEPT = NAMES.index("intercept")
STYLES = {
    "difference": ("#33332f", "o-", "difference of ±10 %"),
    "renewal": ("#1f6fb2", "s--", "renewal"),
    "exact": ("#b5532b", "^:", "exact"),
}


def workload(rate: float, requests: int) -> Workload:
    """Make Poisson arrivals of prompts and outputs of 10 to 400 tokens."""
    rng = np.random.default_rng(7)
    arrival_s = np.cumsum(rng.exponential(1 / rate, requests))
    return Workload(arrival_s, rng.integers(10, 400, requests), rng.integers(10, 400, requests))


def slopes(rate: float, requests: int) -> dict[str, dict[str, float]]:
    """Return the mean change of TTFT and E2E with the intercept, in seconds per second."""
    baseline = load_experiment("exp1_30rr").baseline
    low, high = baseline.vector.copy(), baseline.vector.copy()
    low[INTERCEPT] *= 0.9
    high[INTERCEPT] *= 1.1
    width = high[INTERCEPT] - low[INTERCEPT]
    with Simulator(workload(rate, requests), ServerConfig()) as simulator:
        below, above = simulator.run(low), simulator.run(high)
        found = {
            "difference": {
                name: (getattr(above, name) - getattr(below, name)).mean() / width
                for name in ("ttft", "e2e")
            }
        }
        for kind in ("exact", "renewal"):
            ttft_jac, e2e_jac = simulator.run_jacobian(baseline, kind)
            found[kind] = {
                "ttft": ttft_jac[:, INTERCEPT].mean(),
                "e2e": e2e_jac[:, INTERCEPT].mean(),
            }
    return found


def draw(path: Path, requests: int) -> None:
    """Write the picture to ``path``; its folder must exist."""
    found = [slopes(rate, requests) for rate in RATES]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), constrained_layout=True)
    for panel, name, title in zip(axes, ("ttft", "e2e"), ("mean TTFT", "mean E2E"), strict=True):
        for kind, (color, style, label) in STYLES.items():
            values = [each[kind][name] for each in found]
            panel.plot(RATES, values, style, color=color, label=label, markersize=5)
        panel.set(xscale="log", yscale="log", xlabel="load [requests/s]")
        panel.set_title(f"{title} by intercept [s/s]")
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Draw the picture of the docs, or another file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=PICTURE, help="PNG file (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=3000, help="(default: %(default)s)")
    args = parser.parse_args()
    draw(args.out, args.requests)
    print(f"drawn: {args.out}")


if __name__ == "__main__":
    main()
