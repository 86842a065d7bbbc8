"""The experiment `table_es` as a person asks for it."""

import numpy as np
import pytest

import experiments  # noqa: F401  # registers it
from lab.experiment import get

EXPERIMENT = get("table_es")
SMALL = {"iterations": 2, "fleets": 2, "scenarios": 4, "population": 4, "validation_pairs": 8}


@pytest.mark.parametrize("preset", EXPERIMENT.presets)
def test_every_preset_trains_and_reports_the_objective(preset):
    rows = []
    EXPERIMENT.fit(EXPERIMENT.resolve(preset, SMALL), lambda metrics, checkpoint=None: rows.append(metrics))
    assert [row["iteration"] for row in rows] == [1.0, 2.0]
    assert all(np.isfinite(row[EXPERIMENT.metric]) for row in rows)


@pytest.mark.parametrize("seed", range(8))
def test_every_draw_of_the_search_space_is_a_configuration(seed):
    rng = np.random.RandomState(seed)  # what Tune's domains draw from
    EXPERIMENT.resolve("quick", {name: domain.sample(random_state=rng) for name, domain in EXPERIMENT.space.items()})
