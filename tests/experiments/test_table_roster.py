"""The experiment `table_roster` as a person asks for it."""

import numpy as np
import pytest

import experiments  # noqa: F401  # registers it
from lab.experiment import get

EXPERIMENT = get("table_roster")
SMALL = {"iterations": 2, "backends": 4, "chains": 2, "size": 9, "subsets": 64, "effort": 0.05}


@pytest.mark.parametrize("preset", EXPERIMENT.presets)
def test_every_preset_trains_and_reports_the_objective(preset):
    if preset == "flow":
        pytest.importorskip("ortools")
    rows = []
    EXPERIMENT.fit(EXPERIMENT.resolve(preset, SMALL), lambda metrics, checkpoint=None: rows.append(metrics))
    assert rows
    assert all(np.isfinite(row[EXPERIMENT.metric]) for row in rows)


@pytest.mark.parametrize("seed", range(8))
def test_every_draw_of_the_search_space_is_a_configuration(seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    EXPERIMENT.resolve("quick", {name: domain.sample(random_state=rng) for name, domain in EXPERIMENT.space.items()})
