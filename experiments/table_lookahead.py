"""Tables that look ahead: which numbers of backends do, how far and to which side.

A table asks its neighbours, the tables without each of its backends and with a few more, and takes what most of them
agree on (`lab.tables.lookahead`). That lowers needless moves where one number of backends leads and the other follows,
so what is searched for is the role of each number, and the prices of the tables at the bottom.

`suite` is judged on the six numbers of a churn suite, no two of whose steps share a number: there the number with one
backend less looks up and the other looks down at that, two changes ahead. `default` is judged on all numbers from 2 to
47, each of which is one number's upper and another's lower neighbour; the gain is smaller, and it is everywhere. It
begins with all numbers looking one change ahead to both sides: 3.18 % of needless moves over all numbers, where the
prices of `learned` alone have 3.27 %.

Five seeds of `suite` have 3.2 % [3.2, 3.3] on `churn-47` (`benchmarks/comparison/table_lookahead.txt`), five to six
minutes of a shared core each. Every number of backends, and what a table takes: `benchmarks/lookahead_tables.txt`.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_lookahead import OBJECTIVE, TableLookaheadConfig, fit

register(
    Experiment(
        name="table_lookahead",
        summary="a table that asks the tables one change away: which numbers of backends look, how far and where",
        config=TableLookaheadConfig,
        fit=fit,
        space={
            "start": tune.choice(["none", "learned"]),
            "look": tune.choice(["none", "both"]),
            "joiners": tune.choice([8, 16, 32]),
            "furthest": tune.choice([1, 2]),
            "fleets": tune.choice([32, 64, 128]),
        },
        metric=OBJECTIVE,
        mode="min",
        presets={
            "quick": {"leaves": (7,), "iterations": 2, "joiners": 8, "start": "none", "look": "none"},
            "default": {},
            "suite": {
                "leaves": (3, 5, 7, 10, 16, 27),
                "furthest": 2,
                "start": "none",
                "look": "none",
                "iterations": 12,
                "fleets": 128,
                "validate_every": 6,
                "validation_pairs": 200,
                "checkpoint_every": 3,
            },
            "full": {"iterations": 138, "furthest": 2, "fleets": 256, "joiners": 32, "validation_pairs": 500},
        },
        samples=16,
    )
)
