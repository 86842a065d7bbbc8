"""The grid: every cell trains on the same number of environment steps, and leaves what can be compared."""

import math
import shutil

import pytest

from lab.config import parse
from lab.errors import RequestError
from lab.sweep.cluster import ray_session
from lab.tables import learned
from lab.tasks.table_rl_grid import CELLS, OBJECTIVE, TableRlGridConfig, fit


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_takes_the_steps_it_is_given(cell):
    config = TableRlGridConfig(cell=cell, env_steps=1_200_000, seed=3)
    resolved = config.resolved()
    assert resolved.seed == 3
    taken = config.iterations * CELLS[cell].steps(resolved)
    assert abs(taken - 1_200_000) / 1_200_000 < 0.03


def test_an_unknown_cell_is_refused_with_the_nearest_name():
    with pytest.raises(RequestError, match="Did you mean 'pairs-ppo'"):
        parse(TableRlGridConfig, {"cell": "pair-ppo"})


@pytest.fixture(scope="module")
def local_ray():
    with ray_session(None):
        yield


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_trains_and_leaves_a_builder(local_ray, tmp_path, cell):
    rows = []

    def report(metrics, checkpoint=None):
        rows.append(metrics)
        if checkpoint is not None:
            shutil.copytree(checkpoint, tmp_path / "checkpoint", dirs_exist_ok=True)

    fit(TableRlGridConfig(cell=cell, env_steps=6_000), report)
    assert math.isfinite(rows[-1][OBJECTIVE])
    assert rows[-1].get("env_steps", rows[-1].get("pairs")) > 0
    builder = learned.load(tmp_path / "checkpoint")
    assert builder.stateless == ("stateful" not in cell)
