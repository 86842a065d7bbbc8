"""The notebook's study of initial signs, with 32 seeds where it had one run.

`lab sweep l1_signs` trains the notebook's cell the notebook's way (Adam, batch 32, up to ten entries, learning rate
1e-3, 50,000 steps) from each of its 17 patterns of initial signs (`lab.tasks.l1_norm.signs`), with a ReLU and with a
leaky ReLU on the state: 1,088 trainings. A network has converged if its relative error at length 1,000 is 1e-3 or less
(`validation/error_1000`) at any validation; `exact` says whether both weights are exactly 1, which is what the notebook
asked, and every network that converges has been there at some validation too.

How many of 32 seeds converge, beside what the notebook said. With the leaky ReLU all do, from every pattern. Not all
stay: at a constant learning rate three in four of them are below 1e-3 at the last validation too, and one in four has
exact weights there.

| pattern, relu                | notebook | of 32 | pattern, relu                 | notebook | of 32 |
|------------------------------|----------|-------|-------------------------------|----------|-------|
| `h+_i+`                      | yes      | 32    | `h+_i+small_bh-_bi+`          | fast     | 22    |
| `h+_i-`                      | no       | 0     | `h+_i+small_bh-_bi-`          | yes      | 2     |
| `h-_i+`                      | no       | 32    | `h+_i-_bh+_bi-`               | yes      | 17    |
| `h-small_i+`                 | yes      | 32    | `h+_i-_bh-_bi+`               | no       | 15    |
| `h-_i-`                      | no       | 0     | `h+_i-_bh+_bi+`               | yes      | 32    |
| `h-_i+_bh+_bi+`              | slowly   | 32    | `h-_i-small_bh-_bi-`          | no       | 0     |
| `h-_i+_bh+_bi-`              | yes      | 32    | `h-_i-small_bh+_bi-`          | yes      | 17    |
| `h-_i+_bh-_bi-`              | yes      | 29    | `h-_i-_bh+_bi+`               | yes      | 32    |
| `h+_i+small_bh+_bi-`         | yes      | 27    |                               |          |       |

What decides is whether the unit is alive for some entry at the start: it is where i > 0 without biases, and with them
where the sum of both is positive or a large entry outweighs it. The sign of h does not matter. All 1,088 trainings take
some eight minutes of one core as four populations.
"""

from functools import partial

from ray import tune

from lab.experiment import Experiment, register, resources
from lab.tasks.l1_norm import TASK, L1NormConfig, fit
from lab.tasks.l1_norm.signs import PATTERNS

_NOTEBOOK = {
    "cell": "notebook",
    "dtype": "float32",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "validation_length": 1000,
}

register(
    Experiment(
        name="l1_signs",
        summary="which initial signs the notebook's cell converges from, 32 seeds a pattern",
        config=L1NormConfig,
        fit=fit,
        space={
            "signs": tune.choice(list(PATTERNS)),
            "activation": tune.choice(["relu", "leaky"]),
            "seed": tune.choice(list(range(32))),
        },
        metric=TASK.objective,
        mode=TASK.mode,
        presets={
            "quick": {**_NOTEBOOK, "iterations": 10, "steps": 200, "checkpoint_every": 10},
            "default": {**_NOTEBOOK, "iterations": 50, "steps": 1000},
            "full": {**_NOTEBOOK, "iterations": 250, "steps": 200, "validation_sequences": 32},
        },
        searcher="grid",
        population=TASK,
        comparison="l1_norm",
        resources=partial(resources, gpu=0.25),
    )
)
