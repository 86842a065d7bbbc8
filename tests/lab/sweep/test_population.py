"""Hundreds of models trained as one have to be what each would have been alone."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lab.config import Config
from lab.errors import RequestError
from lab.population_task import Members, Model
from lab.sweep.population import Ended, PopulationReport, fit_one, member_bytes, train_population
from lab.sweep.stack import Layout, Stack


class Line(Config):
    seed: int = 0
    iterations: int = 4
    steps: int = 50
    device: str = "cpu"
    threads: int = 1
    checkpoint_every: int = 1
    rate: float = 0.01
    decay: float = 0.0
    norm: float = 1.0
    width: int = 4
    breaks_at: int = 10**9
    weight: float = 1.0


class LineTask:
    """Learns 3 |x| + 1; `breaks_at` is the step from which on a member's loss is not a number."""

    objective, mode, betas = "validation/error", "min", (0.9, 0.99)

    def __init__(self, replayable: bool = True) -> None:
        self.replayable = replayable

    def key(self, config: Line) -> int:
        return config.width

    def init(self, config: Line) -> nn.Module:
        module = nn.Sequential(nn.Linear(1, config.width), nn.Tanh(), nn.Linear(config.width, 1)).double()
        generator = torch.Generator().manual_seed(config.seed)
        with torch.no_grad():
            for value in module.parameters():
                value.copy_(torch.rand(value.shape, generator=generator, dtype=torch.float64) - 0.5)
        return module

    def stream(self, config: Line) -> int:
        return config.seed

    def blocks(self, config: Line, iteration: int) -> Iterator[Mapping[str, Tensor]]:
        generator = torch.Generator().manual_seed(1000 * config.seed + iteration)
        x = torch.randn(config.steps, 16, 1, generator=generator, dtype=torch.float64)
        # Blocks of two sizes: nobody may count on one.
        for part in x.split(30):
            yield {"x": part, "y": 3 * part.abs() + 1}

    def knobs(self, config: Line, steps: NDArray[np.int64]) -> dict[str, float | NDArray[np.float64]]:
        return {
            "learning_rate": config.rate * 0.999**steps,
            "weight_decay": config.decay,
            "max_gradient_norm": config.norm,
            "weight": np.where(steps >= config.breaks_at, math.nan, config.weight),
        }

    def loss(self, config: Line, model: Model, batch: Mapping[str, Tensor], knobs: Mapping[str, Tensor]) -> Any:
        error = (model(batch["x"]) - batch["y"]).square().mean()
        return error * knobs["weight"], {"error": error}

    def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
        x = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None]
        mapped = members.map(distance, x)
        plain = [float((module(x) - 3 * x.abs() - 1).abs().mean()) for module in members.modules()]
        assert mapped.tolist() == pytest.approx(plain)
        return [{"validation/error": value} for value in mapped.tolist()]

    def save(self, config: Line, directory: Path, *, best: Any, untrained: Any, **objectives: float) -> None:
        save_file(best, directory / "model.safetensors")
        save_file(untrained, directory / "untrained.safetensors")


def distance(model: Model, x: Tensor) -> Tensor:
    return (model(x) - 3 * x.abs() - 1).abs().mean()


TASK = LineTask()

FOUR = {
    3: Line(seed=1, rate=0.01),
    5: Line(seed=1, rate=0.03, decay=0.1),
    8: Line(seed=2, rate=0.02, norm=100.0),
    9: Line(seed=3, rate=0.005, weight=0.5),
}


class Log:
    """What a population reported, and copies of its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder, []
        self.rows: dict[int, list[dict[str, float]]] = {}
        self.ends: dict[int, Ended] = {}
        self.checkpoints: dict[int, Path] = {}

    def __call__(self, report: PopulationReport, checkpoint: Path | None) -> None:
        self.reports.append(report)
        for member, row in report.rows.items():
            self.rows.setdefault(member, []).append(row)
        self.ends |= report.ends
        if checkpoint is not None:
            self.checkpoints[report.iteration] = self.folder / str(report.iteration)
            shutil.copytree(checkpoint, self.checkpoints[report.iteration])


def alone(config: Line) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    fit_one(TASK, config, lambda metrics, checkpoint: rows.append(metrics))
    return rows


def batches(config: Line, iteration: int) -> Iterator[dict[str, Tensor]]:
    for block in TASK.blocks(config, iteration):
        for number in range(len(block["x"])):
            yield {name: value[number] for name, value in block.items()}


def strip(row: Mapping[str, float]) -> dict[str, float]:
    """Without what a clock or the company of others decides."""
    return {name: value for name, value in row.items() if name not in ("seconds", "members")}


@pytest.mark.parametrize("replayable", [True, False])
def test_each_member_is_what_it_would_have_been_alone(tmp_path: Path, replayable: bool) -> None:
    log = Log(tmp_path)
    train_population(LineTask(replayable), FOUR, log)
    for member, config in FOUR.items():
        lone = alone(config)
        assert len(lone) == 4
        for fused_row, lone_row in zip(log.rows[member], lone, strict=True):
            assert strip(fused_row) == pytest.approx(strip(lone_row), abs=1e-9)
    assert log.ends == {member: Ended("finished") for member in FOUR}


def test_the_optimiser_is_that_of_torch() -> None:
    config = Line(seed=4, decay=0.05, norm=1e9)
    rows = alone(config)
    module = TASK.init(config)
    optimizer = torch.optim.AdamW(module.parameters(), betas=TASK.betas, eps=1e-12, weight_decay=0.05)
    step = 0
    for iteration in range(config.iterations):
        losses = []
        for batch in batches(config, iteration):
            optimizer.param_groups[0]["lr"] = config.rate * 0.999**step
            loss = (module(batch["x"]) - batch["y"]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        assert rows[iteration]["train/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_a_member_that_breaks_fails_alone(tmp_path: Path) -> None:
    configs = {**FOUR, 11: Line(seed=1, breaks_at=60)}
    log, whole = Log(tmp_path / "a"), Log(tmp_path / "b")
    train_population(TASK, configs, log)
    train_population(TASK, FOUR, whole)
    assert log.ends[11].status == "failed"
    assert "not finite" in str(log.ends[11].reason) or "nan at iteration 2" in str(log.ends[11].reason)
    assert [row["iteration"] for row in log.rows[11]] == [1.0]
    for member in FOUR:
        assert [strip(row) for row in log.rows[member]] == [
            pytest.approx(strip(row), abs=1e-12) for row in whole.rows[member]
        ]
    assert not (log.checkpoints[4] / "members" / "11").exists()


def test_a_population_of_which_all_fail_ends(tmp_path: Path) -> None:
    log = Log(tmp_path)
    train_population(TASK, {0: Line(breaks_at=0), 1: Line(breaks_at=70)}, log)
    assert {end.status for end in log.ends.values()} == {"failed"}
    assert len(log.reports) == 2
    assert 2 not in log.checkpoints


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_population_goes_on_bit_for_bit_from_any_checkpoint(tmp_path: Path, at: int) -> None:
    whole, rest = Log(tmp_path / "whole"), Log(tmp_path / "rest")
    train_population(TASK, FOUR, whole)
    train_population(TASK, FOUR, rest, resume=whole.checkpoints[at])
    for member in FOUR:
        assert [strip(row) for row in rest.rows[member]] == [strip(row) for row in whole.rows[member][at:]]
        name = f"members/{member}/model.safetensors"
        assert (rest.checkpoints[4] / name).read_bytes() == (whole.checkpoints[4] / name).read_bytes()
    assert all(row[-1]["seconds"] > row[0]["seconds"] > 0 for row in whole.rows.values())


def test_halving_lets_the_best_go_on_and_keeps_the_networks_of_the_others(tmp_path: Path) -> None:
    configs = {i: Line(seed=1, rate=rate) for i, rate in enumerate([0.001, 0.03, 0.002, 0.01, 0.0001, 0.02])}
    log, rest = Log(tmp_path / "whole"), Log(tmp_path / "rest")
    train_population(TASK, configs, log, rungs=(1, 3), eta=3)
    lone = {member: alone(config) for member, config in configs.items()}
    first = sorted(configs, key=lambda member: lone[member][0]["validation/error"])
    assert [member for member, end in log.ends.items() if end.reason == "by halving at iteration 1"] == first[2:]
    assert sorted(len(rows) for rows in log.rows.values()) == [1, 1, 1, 1, 3, 4]
    for member in first[2:]:
        assert log.ends[member].status == "stopped"
        assert (log.checkpoints[1] / "members" / str(member) / "model.safetensors").is_file()
    # Those that were stopped are not woken by who asks for them again.
    train_population(TASK, configs, rest, resume=log.checkpoints[1], rungs=(1, 3), eta=3)
    assert {member: [strip(row) for row in rows] for member, rows in rest.rows.items()} == {
        member: [strip(row) for row in rows[1:]] for member, rows in log.rows.items() if len(rows) > 1
    }


def test_a_member_can_be_taken_out_of_a_checkpoint(tmp_path: Path) -> None:
    log, rest = Log(tmp_path / "whole"), Log(tmp_path / "rest")
    train_population(TASK, FOUR, log)
    train_population(TASK, {8: FOUR[8]}, rest, resume=log.checkpoints[2])
    assert list(rest.rows) == [8]
    for one, other in zip(rest.rows[8], log.rows[8][2:], strict=True):
        assert strip(one) == pytest.approx(strip(other), abs=1e-9)


def test_where_large_is_good_the_best_are_the_largest(tmp_path: Path) -> None:
    class Largest(LineTask):
        mode = "max"

        def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
            return [{"validation/error": config.rate - abs(iteration - 2.0)} for config in members.configs]

    log = Log(tmp_path)
    train_population(Largest(), {i: Line(rate=0.01 * (i + 1)) for i in range(4)}, log, rungs=(3,), eta=4)
    assert {member for member, end in log.ends.items() if end.status == "stopped"} == {0, 1, 2}
    assert [row["best/error"] for row in log.rows[3]] == pytest.approx([0.04 - 1, 0.04, 0.04, 0.04])


def test_members_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for other in (Line(iterations=8), Line(width=7), Line(steps=9)):
        with pytest.raises(RequestError, match=r"^expected members with one key [^\n]*2 kinds of them$"):
            train_population(TASK, {0: Line(), 1: other}, log)
    assert not log.reports


def test_the_checkpoint_of_other_members_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path)
    train_population(TASK, FOUR, log)
    with pytest.raises(RequestError, match=r"a population with member 7, but got \[3, 5, 8, 9\]"):
        train_population(TASK, {7: FOUR[8]}, log, resume=log.checkpoints[2])


def test_the_best_weights_are_kept_not_the_last(tmp_path: Path) -> None:
    class Worsening(LineTask):
        def evaluate(self, members: Members, iteration: int) -> list[dict[str, float]]:
            return [{"validation/error": abs(iteration - 2.0) + 1} for _ in members.configs]

    log = Log(tmp_path)
    train_population(Worsening(), FOUR, log)
    assert [row["best/error"] for row in log.rows[3]] == [2.0, 1.0, 1.0, 1.0]
    assert {row["untrained/error"] for row in log.rows[3]} == {3.0}
    state = load_file(log.checkpoints[2] / "population.safetensors")
    best = load_file(log.checkpoints[4] / "members" / "3" / "model.safetensors")
    row = Layout.of(TASK.init(FOUR[3])).parameters(state["weights"][0])
    assert all(torch.equal(best[name], value) for name, value in row.items())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def forget(path: Path) -> None:
    path.with_name("population.json").write_text("{}")


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [cut, forget, remove])
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    log = Log(tmp_path)
    train_population(TASK, FOUR, log)
    spoil(log.checkpoints[2] / "population.safetensors")
    with pytest.raises(RequestError, match=r"^expected [^\n]*$"):
        train_population(TASK, FOUR, log, resume=log.checkpoints[2])


def test_the_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path)
    train_population(TASK, FOUR, log)
    with pytest.raises(RequestError, match=r"expected at .* a network with"):
        train_population(TASK, {3: Line(width=7)}, log, resume=log.checkpoints[2])


def test_a_lone_training_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    rest: list[dict[str, float]] = []

    def report(metrics: dict[str, float], checkpoint: Path | None) -> None:
        rows.append(metrics)
        assert checkpoint is not None
        assert (checkpoint / "model.safetensors").is_file()
        shutil.copytree(checkpoint, tmp_path / str(len(rows)))

    fit_one(TASK, FOUR[5], report)
    fit_one(TASK, FOUR[5], lambda metrics, checkpoint: rest.append(metrics), resume=tmp_path / "2")
    assert [strip(row) for row in rest] == [strip(row) for row in rows[2:]]


def test_a_lone_training_that_breaks_says_so_and_ends() -> None:
    rows = alone(Line(breaks_at=60))
    assert len(rows) == 2
    assert math.isnan(rows[1]["validation/error"])


def test_the_memory_of_a_member_grows_with_its_batch_and_width() -> None:
    class Wide(LineTask):
        def blocks(self, config: Line, iteration: int) -> Iterator[Mapping[str, Tensor]]:
            for block in super().blocks(config, iteration):
                yield {name: value.repeat(1, 64, 1) for name, value in block.items()}

    small, wide, long = (member_bytes(task, Line(width=width)) for task, width in [(TASK, 4), (TASK, 64), (Wide(), 4)])
    assert wide > small
    assert long > 5 * small


@settings(max_examples=30)
@given(
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_rows_are_networks_and_networks_are_rows(widths: list[int], seeds: list[int]) -> None:
    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(*[nn.Linear(a, b) for a, b in zip([2, *widths], [*widths, 1], strict=True)])

    with torch.random.fork_rng():
        modules = [build(seed) for seed in seeds]
    stack = Stack(modules, torch.device("cpu"))
    x = torch.ones(3, 2)
    for module, plain, row in zip(modules, stack.modules(), stack.weights, strict=True):
        assert torch.equal(module(x), plain(x))
        assert torch.equal(module(x), stack.model(row)(x))
