"""A known roster: rankings whose every subset is as even as can be. Nothing ever moves needlessly.

An entry goes to the first backend of its ranking that is present, so excess is 0 by construction, and what is searched
for is evenness, by one of six methods (`method=`, each a module of `lab.tasks.table_roster`). The default is a heat
bath that draws an entry's whole ranking anew from its exact distribution given all others', at a temperature that
falls. Subsets that are not perfectly even, at 47 entries, over all of them; `lab train table_roster backends=N`,
seconds on one core:

| backends | subsets  | not even                                                                  | seconds  |
|----------|----------|---------------------------------------------------------------------------|----------|
| 4, 5, 6  | 15 to 63 | 0                                                                         | 1 to 10  |
| 7        | 127      | 1, 2, 1 and 0 for the seeds 11 to 14; seed 14's come with the lab         | 30 to 70 |

For eight, rankings as an integer flow (`lab.tasks.table_roster.flow`) left 1 of 255 after the second call of the
solver, 20 minutes of a shared core: `--preset flow --seed 3 iterations=2`. Those come with the lab. No heat bath or
annealing here came below 20; annealing elsewhere is known to reach 11. For larger rosters see `benchmarks/rosters.txt`.

The rankings for larger rosters that come with the lab are the better of two seeds by validation: at 47 entries up to 12
backends of `iterations=250 chains=4`, beyond of `--preset large iterations=4000`, at 307 of `--preset large size=307
iterations=1500`, a minute or two of one core a seed (each preset's `model.json` has its command and what it scored).
"""

from ray import tune

from lab.experiment import Experiment, register
from lab.tasks.table_roster import OBJECTIVE, TableRosterConfig, fit
from lab.tasks.table_roster.flow import solver


def _check(config: TableRosterConfig, in_sweep: bool) -> None:
    if config.method == "flow":
        solver()


register(
    Experiment(
        name="table_roster",
        summary="rankings of a known roster, by sampling, gradient, PPO or a solver: nothing moves needlessly",
        config=TableRosterConfig,
        fit=fit,
        space={
            "method": tune.choice(["heat_bath", "insertion"]),
            "temperature_start": tune.loguniform(0.4, 1.2),
            "temperature_end": tune.loguniform(0.08, 0.4),
            "power": tune.choice([0.25, 0.5, 1.0]),
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
            # The fewest uneven subsets of eight backends that were found; needs ortools.
            "flow": {"method": "flow", "backends": 8, "iterations": 10, "effort": 100.0, "checkpoint_every": 1},
            # Methods whose numbers are other ones, for a roster of any number of backends.
            "insertion": {"method": "insertion", "chains": 1, "iterations": 60},
            "anneal": {"method": "anneal", "chains": 1, "iterations": 200},
            "gradient": {
                "method": "gradient",
                "iterations": 2000,
                "subsets": 255,
                "temperature_start": 1.0,
                "temperature_end": 0.1,
            },
            "large": {
                "method": "gradient",
                "backends": 47,
                "iterations": 1000,
                "subsets": 128,
                "learning_rate": 0.2,
                "start_scale": 2.0,
                "variance_start": 0.03,
                "variance_end": 1.0,
                "temperature_start": 1.0,
                "temperature_end": 0.1,
                "validate_every": 20,
            },
            "ppo": {"method": "ppo", "iterations": 1000, "subsets": 128},
        },
        samples=16,
        check=_check,
        comparison="roster",
    )
)
