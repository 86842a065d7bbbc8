"""Which trials are one method, what a sweep's best is, and what a report says of them."""

from __future__ import annotations

import numpy as np
import pytest

from lab.compare.l1 import sentences, sign_words, words
from lab.compare.l1.evaluate import Question
from lab.compare.l1.grid import grid
from lab.compare.l1.measured import measure
from lab.compare.l1.methods import methods_of
from lab.compare.l1.patterns import studies
from lab.tasks.l1_norm.cells import CELLS
from lab.tasks.l1_norm.data import RANGES
from lab.tasks.l1_norm.measures import LARGEST
from lab.tasks.l1_norm.signs import PATTERNS

from .l1_standin import NORM, SIGNS, make_run, seeds

ASKED = Question((10, 1000, 10_000), 20)
SHORT = Question((10, 10_000), 20, ranges=False)


def quiet(done: int, total: int, what: str) -> None: ...


def test_a_training_over_seeds_is_one_method_and_a_failed_seed_is_no_success():
    run = make_run(NORM, seeds(8, [1.0, 1.0, 1 - 1e-3, None], cell="relu"))
    (row,) = measure([run], ASKED, quiet).rows
    assert (row.method.label, row.rule, row.method.seeds) == ("relu", True, 8)
    assert (row.success.count, row.success.of, row.without) == (
        4,
        8,
        {"figures that are not finite": 2},
    )
    assert row.median[10_000].high > 1e-2
    # The journals of the exact ones come to the goal in the middle of 20 iterations of 50 steps, or a little before.
    assert (row.solved.count, row.steps.value) == (4, 400)
    assert row.shared
    assert set(row.ranges) == set(RANGES)
    assert row.ranges["zeros"].value == 0
    assert row.function["gain"].value == 0
    assert row.by_seed[10_000][3] == row.by_seed[10_000][7] == LARGEST


def test_the_exact_network_is_at_the_float32_floor_and_the_notebook_is_not_within_the_rule():
    runs = [make_run(NORM, seeds(2, cell="relu")), make_run(NORM, seeds(2, cell="notebook"), preset="notebook")]
    found = measure(runs, ASKED, quiet)
    assert [(row.method.label, row.rule) for row in found.rows] == [("notebook (notebook)", False), ("relu", True)]
    for row in found.rows:
        assert row.median[10_000].value == pytest.approx(found.floor[10_000].value, rel=0.5)
    assert 1e-7 < found.floor[10_000].value < 1e-5


def test_asking_together_gives_what_asking_alone_gives():
    together = measure([make_run(NORM, seeds(3, [1.0, 0.999, 1.001], cell="leaky"))], SHORT, quiet).rows[0]
    for seed, gain in enumerate((1.0, 0.999, 1.001)):
        alone = measure([make_run(NORM, [({"cell": "leaky", "seed": seed}, gain)])], SHORT, quiet).rows[0]
        for length in SHORT.lengths:
            assert alone.by_seed[length][0] == pytest.approx(together.by_seed[length][seed], rel=1e-3, abs=1e-7)


def test_a_sweep_is_the_best_of_each_cell_with_all_its_trials_beside_it():
    trials = [
        ({"cell": "relu", "learning_rate": 0.1}, 0.99),
        ({"cell": "relu", "learning_rate": 0.01}, 1.0),
        ({"cell": "relu", "learning_rate": 0.001}, None),
        ({"cell": "tanh", "learning_rate": 0.01}, 0.9),
    ]
    run = make_run(NORM, trials, kind="sweep", space=("cell", "learning_rate"))
    found = measure([run], SHORT, quiet)
    best = {row.method.cell: row for row in found.rows}
    assert best["relu"].method.label == "relu, best of 3 trials"
    assert best["relu"].method.trials == (1,)
    assert (best["relu"].of_cell.count, best["relu"].of_cell.of) == (1, 3)
    assert best["relu"].method.seeds_note == "one seed: not a result"
    assert "not a result" in sentences.summary(found.rows)[0][0]
    assert sentences.lead(found.rows, found.floor)[0].startswith("A first look")
    (counts,) = found.grids
    assert (counts.rows, counts.columns) == (["relu", "tanh"], ["0.001", "0.01", "0.1"])
    assert [[(s.count, s.of) for s in line] for line in counts.shares] == [
        [(0, 1), (1, 1), (0, 1)],
        [(0, 0), (0, 1), (0, 0)],
    ]
    # Those that were not picked are asked about the length that decides alone; a failed one has nothing to ask.
    assert {trial: len(labels) for (_, trial), labels in found.read.items()} == {0: 1, 1: 1, 3: 1}


def test_seeds_within_a_sweep_are_one_method_and_their_median_picks():
    trials = [({"cell": "relu", "seed": s, "learning_rate": 0.1}, g) for s, g in enumerate((1.0, 0.99, 0.99))]
    trials += [({"cell": "relu", "seed": s, "learning_rate": 0.01}, 1 - 1e-5) for s in range(3)]
    run = make_run(NORM, trials, kind="sweep", space=("learning_rate", "seed"))
    (method,) = methods_of([run])
    assert method.trials == (3, 4, 5)
    assert method.seeds_note == "3 seeds: too few for a result; picked on these seeds"


def test_copies_of_a_trial_count_once():
    trials = [
        # The notebook's cell has one unit, and a constant learning rate no decay.
        ({"cell": "notebook", "width": 4, "schedule": "constant", "decay": 0.1}, 0.99),
        ({"cell": "notebook", "width": 16, "schedule": "constant"}, 0.99),
        ({"cell": "notebook", "width": 16, "schedule": "constant", "seed": 1}, 0.99),
        ({"cell": "relu", "width": 4}, 1.0),
        ({"cell": "relu", "width": 16}, 1.0),
    ]
    run = make_run(NORM, trials, kind="sweep", space=("cell", "width", "seed"))
    found = measure([run], SHORT, quiet)
    by_cell = {row.method.cell: row for row in found.rows}
    assert (by_cell["notebook"].method.trials, by_cell["notebook"].method.copies) == ((0, 2), 1)
    assert (by_cell["notebook"].of_cell.of, by_cell["relu"].of_cell.of) == (2, 2)
    (counts,) = found.grids
    assert counts.seeds == 2
    assert sum(share.of for line in counts.shares for share in line) == 4
    assert (1, run.name) not in {(trial, name) for name, trial in found.read}


def test_one_that_was_picked_of_many_has_no_interval():
    trials = [({"cell": "relu", "learning_rate": rate}, 1.0) for rate in (0.1, 0.01)]
    (row,) = measure([make_run(NORM, trials, kind="sweep", space=("learning_rate",))], SHORT, quiet).rows
    assert words.success(row) == "yes, one picked of 2"
    assert "%" not in words.success(row)
    assert not sentences.length_title([row]).startswith(row.method.label)


def test_a_training_that_wanders_off_again_is_counted_apart():
    run = make_run(NORM, seeds(6, cell="relu"))
    for index in (0, 1):
        last = run.trials[index].results[20]
        last["validation/error"] = 1e-2
    (row,) = measure([run], SHORT, quiet).rows
    assert (row.success.count, row.kept.count, row.reached.count, row.solved.count) == (6, 4, 6, 4)
    assert "4 at the last validation" in words.success(row)
    assert "At any validation 6 of 6 seeds were there" in sentences.summary([row])[0][1][-1]
    assert "every 50 steps" in sentences.summary([row])[0][1][-1]


def test_trials_without_a_network_are_counted_by_what_happened():
    run = make_run(NORM, seeds(5, [1.0, None, None, None, 1.0], cell="relu"))
    run.trials[2].reason = "the worker died"
    run.trials[3].status, run.trials[3].reason = "stopped", "by halving at iteration 5"
    run.trials[4].status, run.trials[4].reason = "failed", "validation/error is inf at iteration 20"
    (row,) = measure([run], SHORT, quiet).rows
    assert row.without == {
        "figures that are not finite": 2,
        "failed: the worker died": 1,
        "stopped early, before any checkpoint": 1,
    }
    # The last one was at the goal before it failed.
    assert (row.solved.count, row.reached.count) == (1, 1)


def aim(*runs):
    found = measure(list(runs), SHORT, quiet)
    return next(text for text in sentences.lead(found.rows, found.floor) if "the aim" in text)


def test_the_aim_is_reached_only_if_the_notebook_is_slower_on_the_same_machine():
    many = make_run(NORM, seeds(64, cell="relu"))
    assert "its run is not among these" in aim(many)
    assert "reaches what could be asked" in aim(many)
    never = make_run(NORM, seeds(5, [0.99], cell="notebook"), preset="notebook")
    assert "relu reaches the aim" in aim(many, never)
    assert "more than half of the notebook's seeds never do" in aim(many, never)
    equal = make_run(NORM, seeds(5, cell="notebook"), preset="notebook")
    assert "not at the aim" in aim(many, equal)
    equal.manifest.machine = "another"
    assert "another machine" in aim(many, equal)
    for trial in never.trials.values():
        for row in trial.results.values():
            row["members"] = 1
    assert "trained alone" in aim(many, never)


def test_more_sequences_begin_with_the_fewer():
    few, usual, many = (Question((10,), count).entries() for count in (20, 64, 130))
    assert (few == usual[:20]).all()
    assert (usual == many[:64]).all()
    assert len(np.unique(many[:, 0])) == 130


def test_many_values_of_a_number_are_put_into_bins_that_hold_them_all():
    rates = [10 ** (-4 + k / 6) for k in range(19)]
    trials = [({"cell": cell, "learning_rate": rate}, 1.0) for cell in ("relu", "tanh") for rate in rates]
    run = make_run(NORM, trials, kind="sweep", space=("cell", "learning_rate"))
    counts = grid(run, {trial: trial % 2 == 0 for trial in run.trials})
    assert len(counts.columns) == 5
    assert sum(share.of for line in counts.shares for share in line) == len(trials)
    assert sum(share.count for line in counts.shares for share in line) == len(trials) / 2


def test_labels_say_what_two_methods_differ_in():
    runs = [make_run(NORM, seeds(2, cell="relu", width=w)) for w in (2, 4)]
    assert [method.label for method in methods_of(runs)] == ["relu, width 2", "relu, width 4"]
    twins = methods_of([make_run(NORM, seeds(2, cell="relu")) for _ in range(2)])
    assert len({method.label for method in twins}) == 2


def test_a_training_that_was_validated_at_another_length_is_not_said_to_have_solved_anything():
    run = make_run(NORM, seeds(2, cell="relu", validation_length=1000))
    (row,) = measure([run], SHORT, quiet).rows
    assert row.solved.of == 0
    assert words.solved(row) == "not validated at this length"


def test_every_cell_has_words():
    assert set(words.CELLS) == set(CELLS)


# ---- initial signs


def signs(pattern, gains, **fields):
    return [({**given, "signs": pattern}, gain) for given, gain in seeds(len(gains), gains, cell="notebook", **fields)]


def test_a_pattern_is_judged_by_its_seeds():
    trials = signs("h+_i+", [1.0] * 8) + signs("h+_i-", [1.0] * 8) + signs("h-_i-", [1.0, 0.5, None, 1.0])
    found = measure([make_run(SIGNS, trials)], ASKED, quiet)
    assert found.rows == []
    ((study, outcomes),) = found.studies
    by_name = {outcome.pattern.name: outcome for outcome in outcomes}
    assert list(by_name) == ["h+_i+", "h+_i-", "h-_i-"]
    assert by_name["h+_i+"].finding == "holds"
    assert by_name["h+_i-"].finding == "contradicted"
    assert by_name["h-_i-"].finding == "undecided"
    assert (by_name["h-_i-"].converged.count, by_name["h-_i-"].failed, by_name["h-_i-"].exact.count) == (2, 1, 2)
    path = by_name["h+_i+"].paths[0]
    assert (path.recurrent[0], path.input[0]) == pytest.approx((0.2, 0.4))
    assert (path.recurrent[-1], path.input[-1], path.converged) == (1.0, 1.0, True)
    assert "1 is contradicted (h+, i−)" in sign_words.sign_lead(outcomes)[0]
    assert by_name["h+_i+"].speed is None
    assert study.steps == 20 * 50


def test_a_line_about_speed_is_judged_by_the_other_patterns():
    slow, fast = "h-_i+_bh+_bi+", "h+_i+small_bh-_bi+"
    run = make_run(SIGNS, [each for name in ("h+_i+", "h-small_i+", slow, fast) for each in signs(name, [1.0] * 8)])
    for trial in run.trials.values():
        if trial.config["signs"] in (slow, fast):
            # Both come to the goal after the others.
            for iteration in range(1, 16):
                trial.results[iteration]["validation/error_1000"] = 1.0
    ((_, outcomes),) = measure([run], ASKED, quiet).studies
    speeds = {outcome.pattern.name: outcome.speed for outcome in outcomes}
    assert speeds == {"h+_i+": None, "h-small_i+": None, slow: "holds", fast: "contradicted"}
    texts = {outcome.pattern.name: sign_words.finding(outcome) for outcome in outcomes}
    assert texts[slow] == "converges: holds; slowly: holds"
    assert texts[fast] == "converges: holds; fast: is contradicted"


def test_another_activation_is_shown_beside_and_not_judged():
    trials = signs("h+_i+", [1.0] * 8) + signs("h+_i-", [1.0] * 8, activation="leaky")
    ((_, outcomes),) = measure([make_run(SIGNS, trials)], ASKED, quiet).studies
    assert [outcome.finding for outcome in outcomes] == ["holds", None]
    lead = sign_words.sign_lead(outcomes)
    assert lead[0].startswith("With ReLU, 1 of the notebook's 1 findings hold")
    assert "not counted among them, 1 of 1 patterns converge" in lead[1]
    assert "1 of the notebook's 1 findings" in sign_words.heat_title(outcomes)


def test_a_seed_that_converged_and_moved_on_is_counted_apart():
    run = make_run(SIGNS, signs("h+_i+", [1.0] * 8))
    run.trials[0].results[20] |= {"validation/error_1000": 0.1, "exact": 0.0}
    ((_, (outcome,)),) = measure([run], ASKED, quiet).studies
    assert (outcome.converged.count, outcome.kept.count) == (8, 7)
    assert (outcome.exact.count, outcome.exact_last.count) == (8, 7)
    assert "still so at the last validation: 7" in sign_words.of_pattern(outcome)


def test_the_same_training_in_two_runs_counts_once_and_another_preset_is_another_study():
    runs = [make_run(SIGNS, signs("h+_i+", [1.0] * 3)), make_run(SIGNS, signs("h+_i+", [1.0] * 5))]
    (study,) = studies(runs)
    assert len(study.members) == 5
    other = make_run(SIGNS, signs("h+_i+", [1.0], learning_rate=0.5), preset="quick")
    assert len({study.label for study in studies([*runs, other])}) == 2


def test_every_pattern_has_a_title_of_its_own():
    assert len({sign_words.pattern(pattern) for pattern in PATTERNS.values()}) == 17
    assert sign_words.pattern(PATTERNS["h-_i-small_bh+_bi-"]) == "h−, i small −, bh+, bi−"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1e-4, "10⁻⁴"),
        (3.14e-6, "3.1×10⁻⁶"),
        (0.63, "0.63"),
        (LARGEST, words.error(None)),
        (123.4, "123"),
    ],
)
def test_errors_are_written_for_people(value, text):
    assert words.error(value) == text
