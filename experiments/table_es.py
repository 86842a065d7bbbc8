"""Priced rendezvous: an evolution strategy searches for the prices that move the fewest entries.

The policy chooses which pair of entry and backend is given out next: the one of the highest score less the price of its
backend (`lab.tables.priced`). There are 36 prices, so CMA-ES searches for them directly, on what is wanted: needless
moves when one of 2 to 47 backends leaves, and changes beyond the optimum on scenarios, each as a share of those of
balanced stratified rendezvous on the same fleets.

Five seeds of `default` end at 0.854 to 0.856 of it on validation fleets, where the start, all floors first with a
softer edge, has 0.87. On the suites: `benchmarks/comparison/table_es.txt`; by number of backends and at other sizes:
`benchmarks/priced_tables.txt`.

Judged on few numbers of backends alone (`leaves=[3,5,7,10,16,27]`), a search makes the steps between the others dear:
fewer needless moves at those six than any classical table, and more than Maglev's at 22.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_es import OBJECTIVE, TableEsConfig, fit, validation_scenarios

register(
    Experiment(
        name="table_es",
        summary="a table given out best pair first, at prices that CMA-ES searches for",
        config=TableEsConfig,
        fit=fit,
        validation=validation_scenarios,
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
