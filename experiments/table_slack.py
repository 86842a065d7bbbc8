"""Slack where it pays: the largest load for each number of backends, for a price of unevenness.

Every price is a point of the front of largest load against needless moves. `lab sweep table_slack` finds the caps for
all prices with five seeds; `lab compare table_slack` shows each price as a method, and what the front dominates.

Caps are found for all numbers of backends together by default. For the six numbers of a churn suite alone
(`--preset suite`), no two of whose steps share a number, caps can be had that are better there, and nowhere else; there
tables can look ahead from one end of a step to the other as well (`--preset suite-ahead`). Five seeds of either:
`benchmarks/comparison/table_slack.txt`.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_slack import OBJECTIVE, TableSlackConfig, fit

register(
    Experiment(
        name="table_slack",
        summary="how much more than even a backend may have, for each number of backends",
        config=TableSlackConfig,
        fit=fit,
        space={
            # The last one changes fastest in a grid: tables are built once for all prices of a seed.
            "seed": tune.choice([0, 1, 2, 3, 4]),
            "unevenness": tune.choice(
                [0.01, 0.02, 0.03, 0.035, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.115, 0.13, 0.15, 0.175, 0.2, 0.3]
            ),
        },
        metric=OBJECTIVE,
        mode="min",
        searcher="grid",
        samples=85,
        presets={
            "quick": {"iterations": 2, "fleets": 4, "validation_pairs": 16},
            # A quarter of a minute of one core.
            "default": {},
            "suite": {"leaves": (3, 5, 7, 10, 16, 27), "fleets": 200, "validation_pairs": 500},
            # The same, by tables that look one change ahead: two minutes of one core for all prices of a seed, in one
            # process (--max-concurrent 1).
            "suite-ahead": {
                "leaves": (3, 5, 7, 10, 16, 27),
                "look": True,
                "iterations": 1,
                "fleets": 24,
                "most_extra": 4,
                "validation_pairs": 40,
            },
            "full": {"iterations": 50, "fleets": 64, "validation_pairs": 1000},
        },
    )
)
