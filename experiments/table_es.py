"""Priced rendezvous: an evolution strategy searches for the prices that move the fewest entries."""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_es import OBJECTIVE, TableEsConfig, fit

register(
    Experiment(
        name="table_es",
        summary="a table given out best pair first, at prices that CMA-ES searches for",
        config=TableEsConfig,
        fit=fit,
        space={
            "sigma": tune.loguniform(0.02, 0.2),
            "population": tune.choice([12, 16, 24, 32]),
            "start": tune.choice(["none", "floors"]),
            "levels": tune.choice([3, 4, 6]),
            "knots": tune.choice([7, 9, 13]),
            "scenario_weight": tune.uniform(0.3, 0.7),
        },
        metric=OBJECTIVE,
        mode="min",
        presets={
            "quick": {"iterations": 30, "fleets": 4, "scenarios": 64, "validation_pairs": 64},
            "default": {},
            "full": {
                "iterations": 1000,
                "fleets": 64,
                "scenarios": 1024,
                "population": 32,
                "validation_pairs": 2000,
            },
        },
        samples=16,
    )
)
