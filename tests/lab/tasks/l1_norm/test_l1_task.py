"""The task: training one or many, what is reported, and that nobody's result depends on company."""

import math

import pytest
import torch

from lab.errors import RequestError
from lab.sweep.population import fit_one, train_population
from lab.sweep.stack import Mapped, Stack
from lab.tasks.l1_norm import TASK, L1NormConfig, fit, load_model
from lab.tasks.l1_norm.artefact import UNTRAINED
from lab.tasks.l1_norm.cells import CELLS
from lab.tasks.l1_norm.measures import LARGEST
from lab.tasks.l1_norm.signs import PATTERNS
from lab.tasks.l1_norm.task import L1NormTask

SMALL = {
    "iterations": 2,
    "steps": 3,
    "width": 3,
    "batch_size": 4,
    "max_length": 4,
    "validation_length": 20,
    "validation_sequences": 3,
}


def config(**fields):
    return L1NormConfig(**{**SMALL, **fields})


def rows_of(chosen, task=TASK):
    rows = []
    fit_one(task, chosen, lambda metrics, folder: rows.append(metrics))
    return rows


def population_rows(configs, task=TASK):
    rows = {index: [] for index in range(len(configs))}

    def report(given, folder):
        for index, metrics in given.rows.items():
            rows[index].append(metrics)

    train_population(task, dict(enumerate(configs)), report)
    return rows


TOGETHER = {
    **{cell: ({"cell": cell}, {}) for cell in CELLS},
    **{f"{cell}-bias": ({"cell": cell, "bias": True}, {}) for cell in ("relu", "leaky", "notebook")},
    "notebook-leaky": ({"cell": "notebook", "activation": "leaky", "slope": 0.1}, {}),
    "notebook-signs": ({"cell": "notebook", "signs": "h+_i+"}, {"signs": "h-small_i+"}),
    "notebook-signs-bias": ({"cell": "notebook", "signs": "h+_i-_bh+_bi-"}, {"signs": "h-_i-_bh+_bi+"}),
}
"""Name -> the fields of two members, and those that the second has of its own."""


class LastValidation(L1NormTask):
    """The task, but validated at the end alone: for tests that report every step."""

    def evaluate(self, members, iteration):
        if iteration < members.configs[0].iterations:
            return [{self.objective: 1.0} for _ in members.configs]
        return super().evaluate(members, iteration)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in TOGETHER), *((name, "float32") for name in ("relu", "notebook", "gru"))],
)
def test_a_member_of_a_population_has_the_losses_that_it_has_alone(name, dtype):
    """At every one of 200 steps: an iteration is one."""
    shared, own = TOGETHER[name]
    shape = {"iterations": 200, "steps": 1, "validation_length": 10, "checkpoint_every": 200, "dtype": dtype}
    task = LastValidation()
    configs = [
        config(**shape, **{**shared, **more}, seed=seed, learning_rate=rate, schedule=schedule)
        for seed, rate, schedule, more in ((0, 1e-2, "cosine", {}), (1, 3e-3, "geometric", own))
    ]
    assert TASK.key(configs[0]) == TASK.key(configs[1])
    fused = population_rows(configs, task)
    alone = rows_of(configs[1], task)
    assert len(alone) == len(fused[1]) == 200
    for one, other in zip(alone, fused[1], strict=True):
        assert one.keys() == other.keys()
        for key in ("train/loss", "validation/error"):
            assert one[key] == pytest.approx(other[key], rel=1e-5, abs=1e-5), (key, one["iteration"])


def test_configs_with_one_key_have_networks_and_batches_of_one_shape():
    configs = [
        config(cell=cell, width=width, bias=bias, batch_size=size, seed=size)
        for cell in CELLS
        for width in (2, 3)
        for bias in (False, True)
        for size in (4, 5)
    ]
    shapes = {}
    for chosen in configs:
        found = (
            [(name, value.shape) for name, value in TASK.init(chosen).named_parameters()],
            [(name, value.shape, value.dtype) for name, value in next(TASK.blocks(chosen, 0)).items()],
        )
        assert shapes.setdefault(TASK.key(chosen), found) == found
    # The notebook's cell has no width, and the baselines have no choice of biases.
    assert len(shapes) == 2 * (2 + 2 * (2 * 2) + 5 * 2)


def test_what_differs_between_members_is_not_in_the_key():
    one = config(learning_rate=0.1, schedule="cosine", seed=3, curriculum="grow", weight_decay=0.1)
    assert TASK.key(one) == TASK.key(config())
    assert TASK.key(config(cell="notebook", signs="h+_i+")) == TASK.key(config(cell="notebook", signs="h-_i-"))
    assert TASK.key(config(cell="notebook", signs="h-_i-_bh+_bi+")) == TASK.key(config(cell="notebook", bias=True))
    assert TASK.key(config(dtype="float32")) != TASK.key(config())


@pytest.mark.parametrize("cell", CELLS)
def test_an_evaluation_has_everything_that_a_comparison_reads(cell):
    row = rows_of(config(cell=cell))[-1]
    assert all(math.isfinite(value) for value in row.values())
    assert {
        *("validation/error", "validation/error_p95", "validation/error_10", "gain", "response/+1", "response/-1"),
        *("sparsity", "untrained/error", "best/error", "train/loss", "train/learning_rate", "seconds", "iteration"),
    } <= row.keys()
    assert ("weight/recurrent" in row) == (cell in ("notebook", "relu", "leaky", "nau"))
    assert ("weight/input" in row) == ("exact" in row) == (cell == "notebook")
    assert ("train/sparsity" in row) == (cell == "nau")


def evaluation_of(chosen, weights):
    """The evaluation of members with these weights, each a mapping of parameters to numbers."""
    modules = []
    for values in weights:
        modules.append(TASK.init(chosen))
        with torch.no_grad():
            for name, value in values.items():
                getattr(modules[-1], name).fill_(value)
    stack = Stack(modules, torch.device("cpu"))
    return TASK.evaluate(Mapped(stack, [chosen] * len(modules), fused=True), 0)


def test_the_objective_ranks_a_diverging_network_last_and_a_broken_one_not_at_all():
    chosen = config(cell="notebook", dtype="float32", validation_length=1200)
    exact, close, diverging, broken = evaluation_of(
        chosen,
        [
            {"weight_hh": 1.0, "weight_ih": 1.0},
            {"weight_hh": 0.999, "weight_ih": 1.0},
            {"weight_hh": 10.0, "weight_ih": 1.0},
            {"weight_hh": math.nan, "weight_ih": 1.0},
        ],
    )
    assert exact["validation/error"] < 1e-5 < close["validation/error"] < diverging["validation/error"] == LARGEST
    assert math.isnan(broken["validation/error"])
    assert (exact["exact"], close["exact"]) == (1.0, 0.0)
    assert {"validation/error_10", "validation/error_100", "validation/error_1000"} <= exact.keys()
    assert exact["response/+1"] == exact["response/-1"] == exact["gain"] == 1.0


def test_weights_are_judged_as_they_are_in_float32():
    (row,) = evaluation_of(config(cell="notebook"), [{"weight_hh": 1 + 1e-12, "weight_ih": 1 - 1e-12}])
    assert (row["exact"], row["weight/recurrent"], row["weight/input"]) == (1.0, 1.0, 1.0)


def test_the_validation_is_at_a_thousand_where_that_is_the_whole_length():
    (row,) = evaluation_of(config(cell="notebook", validation_length=1000), [{}])
    assert row["validation/error_1000"] == row["validation/error"]


def test_an_artefact_is_the_network_that_was_best_and_the_one_before(tmp_path):
    chosen = config(seed=5, iterations=3, steps=20)
    kept = {}

    def report(metrics, folder):
        if folder is not None:
            kept["metrics"] = metrics
            for file in folder.iterdir():
                (tmp_path / file.name).write_bytes(file.read_bytes())

    fit(chosen, report)
    best, description = load_model(tmp_path)
    untrained, _ = load_model(tmp_path, UNTRAINED)
    assert (description["cell"], description["seed"], description["dtype"]) == ("relu", 5, "float32")
    assert description["validation"]["error"] == kept["metrics"]["best/error"]
    for cell, key in ((best, "best/error"), (untrained, "untrained/error")):
        weights = {name: value.detach() for name, value in cell.named_parameters()}
        stack = Stack([cell], torch.device("cpu"))
        (row,) = TASK.evaluate(Mapped(stack, [chosen], fused=False), 0)
        assert row["validation/error"] == pytest.approx(kept["metrics"][key], rel=1e-5), weights
    first = TASK.init(chosen).state_dict()
    for name, value in untrained.state_dict().items():
        torch.testing.assert_close(value, first[name].float())


@pytest.mark.slow
def test_the_default_learns_the_function_itself():
    chosen = L1NormConfig(validation_sequences=4, iterations=4, steps=250)
    row = rows_of(chosen)[-1]
    assert row["validation/error"] <= 1e-5
    assert row["gain"] == pytest.approx(1, abs=1e-7)
    assert row["response/+1"] == pytest.approx(1, abs=1e-6)
    assert row["response/-1"] == pytest.approx(1, abs=1e-6)


def test_a_pattern_of_signs_trains_with_and_without_biases():
    for name in ("h+_i+", "h-_i-_bh+_bi+"):
        row = rows_of(config(cell="notebook", signs=name, dtype="float32"))[-1]
        assert math.isfinite(row["validation/error"])
    assert PATTERNS["h+_i+"].finding == "converges"


def test_a_device_that_is_not_here_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match="CUDA"):
            fit(config(device="cuda"), lambda metrics, folder: None)
