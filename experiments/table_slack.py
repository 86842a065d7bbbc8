"""Slack where it pays: the largest load for each number of backends, within a budget of unevenness.

Every budget is a point of the front of largest load against needless moves. `lab sweep table_slack` finds the caps for
all budgets with five seeds; `lab compare table_slack` shows each budget as a method, and what the front dominates.
No budget is better than another: the trial with the least excess, which a run names as its best, is the one with most
slack. Trials of one budget differ in their seed alone.

Caps are found for all numbers of backends together by default. For the six numbers of a churn suite alone
(`--preset suite`), no two of whose steps share a number, caps can be had that are better there, and nowhere else; there
tables can look ahead from one end of a step to the other as well (`--preset suite-ahead`). Five seeds of these:
`benchmarks/comparison/table_slack.txt`.
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_slack import OBJECTIVE, TableSlackConfig, fit

SLACKS = [0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.075, 0.09, 0.11, 0.13, 0.15, 0.17, 0.19, 0.22, 0.26, 0.31, 0.36, 0.41]

register(
    Experiment(
        name="table_slack",
        summary="how much more than even a backend may have, for each number of backends",
        config=TableSlackConfig,
        fit=fit,
        space={
            # The last one changes fastest in a grid: tables are built once for all budgets of a seed.
            "seed": tune.choice([0, 1, 2, 3, 4]),
            "slack": tune.choice(SLACKS),
        },
        metric=OBJECTIVE,
        mode="min",
        searcher="grid",
        samples=5 * len(SLACKS),
        presets={
            "quick": {"iterations": 2, "fleets": 4, "validation_pairs": 16},
            # A quarter of a minute of one core.
            "default": {},
            "suite": {"leaves": (3, 5, 7, 10, 16, 27), "fleets": 200, "validation_pairs": 500},
            # The same, by tables that look one change ahead: two minutes of one core for all budgets of a seed, in one
            # process (--max-concurrent 1).
            "suite-ahead": {
                "leaves": (3, 5, 7, 10, 16, 27),
                "look": True,
                "iterations": 1,
                "fleets": 64,
                "validation_pairs": 24,
            },
            "full": {"iterations": 50, "fleets": 64, "validation_pairs": 1000},
        },
    )
)
