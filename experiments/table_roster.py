"""A known roster: rankings whose every subset is as even as can be. Nothing ever moves needlessly."""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_roster import OBJECTIVE, TableRosterConfig, fit

register(
    Experiment(
        name="table_roster",
        summary="rankings of a known roster, drawn whole by a heat bath, even for every subset",
        config=TableRosterConfig,
        fit=fit,
        space={
            "temperature_start": tune.uniform(0.4, 1.0),
            "temperature_end": tune.uniform(0.08, 0.2),
            "power": tune.choice([0.1, 0.25, 0.5]),
            "seed": tune.randint(0, 2**31 - 1),
        },
        metric=OBJECTIVE,
        mode="min",
        presets={
            "quick": {"backends": 6, "iterations": 60, "chains": 4},
            "default": {},
            "full": {"backends": 8, "iterations": 5000, "chains": 32},
        },
        samples=16,
        comparison="roster",
    )
)
