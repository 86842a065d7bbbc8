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
            # Perfectly even for most subsets rather than nearly even for all.
            "full": {
                "backends": 8,
                "iterations": 4000,
                "chains": 32,
                "power": 0.25,
                "temperature_start": 0.45,
                "temperature_end": 0.15,
            },
        },
        samples=16,
        comparison="roster",
    )
)
