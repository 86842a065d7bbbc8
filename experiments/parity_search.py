"""Better settings for parity models: Optuna proposes, ASHA stops, validation A_d decides.

    lab sweep parity_search --preset digits-k2-concatenation
    lab sweep parity_search --preset digits-k4-addition --samples 64
    lab sweep parity_search dataset=mnist5k k=3 code=concatenation/subtraction    # any other problem

One problem a search: accuracies of different data sets and numbers of queries do not compare. Searched are the width of
the parity model, its schedule, optimiser and weight decay, the size of a batch, how queries are moved and blended, and
label smoothing of logits. Whatever is moved or blended is put to the base model anew (`distil`): moved queries that
keep the answers to the unmoved ones ruin a parity model on digits, and with nothing moved or blended there is nothing
to ask.

The objective is measured on validation data in sixteen orders; test figures are beside it in the results and are read
once, of the trial that is chosen.
"""

from ray import tune

from lab.experiment import Experiment, register, resources
from lab.tasks.parity import OBJECTIVE, TASK, ParityConfig, check, fit, result_texts

_COMMON = {"iterations": 9, "epochs": 40, "distil": True, "validation_groupings": 16}


def _problems() -> dict[str, dict[str, object]]:
    return {
        f"{dataset}-k{k}-{encoder}": {**_COMMON, "dataset": dataset, "k": k, "code": f"{encoder}/subtraction"}
        for dataset in ("digits", "mnist5k")
        for k in (2, 4)
        for encoder in ("addition", "concatenation")
    }


register(
    Experiment(
        name="parity_search",
        summary="settings of parity models: width, schedule, decay, blending, smoothing, distillation",
        config=ParityConfig,
        fit=fit,
        space={
            "parity_width": tune.choice([1.0, 2.0, 4.0, 8.0]),
            "learning_rate": tune.loguniform(5e-4, 2e-2),
            "schedule": tune.choice(["constant", "cosine"]),
            "optimiser": tune.choice(["adam", "adamw"]),
            "weight_decay": tune.loguniform(1e-6, 1e-1),
            "batch_groups": tune.choice([8, 16, 32, 64]),
            "shift": tune.choice([0, 1]),
            "mix": tune.choice([0.0, 0.25, 0.5]),
            "smoothing": tune.choice([0.0, 1e-4, 1e-3, 1e-2]),
        },
        metric=OBJECTIVE,
        mode="max",
        presets={
            "quick": {"iterations": 3, "epochs": 5, "distil": True},
            "default": _COMMON,
            "full": {**_COMMON, "iterations": 27, "epochs": 100},
            **_problems(),
        },
        samples=32,
        searcher="optuna",
        scheduler="asha",
        check=check,
        population=TASK,
        comparison="parity",
        texts=result_texts,
        resources=resources,
    )
)
