"""Step-time models. Oracles: the formula of a step on one request, and the reference engine."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pysimbind import MODELS, Parameters, ServerConfig, Simulator, Workload, find_model
from pysimbind.errors import ParameterError
from pysimbind.parameters import NAMES


def test_presets() -> None:
    assert MODELS["quadratic15"].names == NAMES
    assert find_model("intercept,D,P,out") == MODELS["small"]
    assert {"ctx", "attn", "hinge", "mixed", "out"} < set(MODELS["extended"].terms)


def test_a_list_is_read_back_from_its_name_and_from_a_pickle() -> None:
    model = find_model(["1", "D", "ctx", "prompt"])
    assert model.terms == ("intercept", "sum_decode_tokens", "ctx", "prompt")
    assert find_model(model.name) == model
    assert pickle.loads(pickle.dumps(model)) == model


@pytest.mark.parametrize("spec", ["extendd", "1,D,D", "1,contxt", []])
def test_bad_models(spec: object) -> None:
    with pytest.raises(ParameterError):
        find_model(spec)  # type: ignore[arg-type]


def test_each_term_of_a_lone_request() -> None:
    """300 prompt tokens in one step, then two decoding ones, of 300 and 301 tokens before."""
    model = find_model("1,ctx,attn,hinge,mixed,out,prompt")
    values = {"intercept": 1e-2, "ctx": 1e-5, "attn": 1e-7, "hinge": 1e-4, "mixed": 9.0}
    values |= {"out": 1e-3, "prompt": 1e-5} | dict.fromkeys(model.names[-4:], 0.0)
    x = Parameters.from_mapping(values, model)
    with Simulator(Workload([0.0], [300], [3]), ServerConfig(), model) as simulator:
        ttft, e2e = simulator.run(x)
    first = 1e-2 + 1e-7 * 300 * 301 / 2 + 1e-4 * (300 - 256)
    assert ttft[0] == pytest.approx(first + 1e-3 + 300e-5)
    assert e2e[0] == pytest.approx(first + 2e-2 + 1e-5 * (300 + 301) + 3e-3 + 300e-5)


def test_engines_agree_with_growing_contexts() -> None:
    rng = np.random.default_rng(5)
    model = MODELS["extended"]
    arrival_s = np.sort(rng.uniform(0, 3, 60))
    workload = Workload(arrival_s, rng.integers(1, 900, 60), rng.integers(1, 200, 60))
    x = np.array(
        [6e-3, 1e-4, 3e-5, 2e-7, 1e-9, 1e-8, 1e-9, 1e-6, 1e-3, 1e-6, 1e-4, 1e-4, 0, 0, 0, 9]
    )
    assert x.size == len(model.names)
    runs = []
    for engine in ("leap", "reference"):
        with Simulator(workload, ServerConfig(), model, engine=engine) as simulator:
            runs.append(simulator.run(x))
    assert runs[0].ttft.tobytes() == runs[1].ttft.tobytes()
    assert runs[0].e2e.tobytes() == runs[1].e2e.tobytes()
