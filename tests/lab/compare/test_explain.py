"""What is said to have been learned is what the network does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.scenarios import ScenarioConfig, sample_batch, stream
from envs.scoring import table_scores
from lab.compare.explain import SHARES, Dispersion, Explanation, Importance, _redrawn, _sequential, explain
from lab.compare.explain_figures import draw_explanation, sentences
from lab.compare.methods import methods
from lab.compare.statistics import Interval
from lab.tables import learned
from lab.tables.policy_networks import make_policy
from lab.tables.sequential import SequentialTables, sequential_options

from .standin import make_run, pair_run


def explained(run):
    return explain([method for method in methods([str(run.folder)], ["maglev"]) if method.trained])


def test_a_scorer_of_stratified_draws_rests_on_them_alone_and_is_stratified():
    (found,) = explained(pair_run(column=-2))
    by_feature = {each.feature: each.rise for each in found.importance}
    assert found.importance[0].feature == "stratified draw 1"
    assert by_feature["stratified draw 1"].value > 1
    assert {by_feature[f"ring offset, hash {k}"].value for k in (1, 2, 3, 4)} == {0.0}
    assert [each.value for each in found.dispersion.learned] == pytest.approx(found.dispersion.stratified, abs=0.02)
    text = " ".join(sentences(found))
    assert text.startswith("Its tables rest most on stratified draw 1 (+")
    assert "Its scores are stratified" in text


def test_a_scorer_of_ring_offsets_rests_on_the_first_alone():
    (found,) = explained(pair_run(column=0))
    rises = {each.feature: each.rise.value for each in found.importance}
    assert found.importance[0].feature == "ring offset, hash 1"
    assert rises["ring offset, hash 1"] > 1
    assert sum(rises.values()) == rises["ring offset, hash 1"]


def test_figures_of_the_set_are_taken_of_another_set():
    (found,) = explained(pair_run(column=0, seeds=1, sees_set=True))
    rises = {each.feature: each.rise for each in found.importance}
    # The same for all backends: it decides nothing here.
    assert rises["number of backends"] == Interval(0.0, None, None, "seeds")


def test_independent_scores_are_a_lottery_and_stratified_ones_are_not():
    (found,) = explained(pair_run(column=-2, seeds=1))
    np.testing.assert_allclose(found.dispersion.independent, 1 - SHARES, atol=0.06)
    assert max(found.dispersion.stratified) < 0.1


@pytest.mark.parametrize(
    ("at", "says"), [(0.05, "are stratified"), (0.5, "are partly stratified"), (0.9, "are not stratified")]
)
def test_words_say_how_stratified_scores_are(at, says):
    count = len(SHARES)
    interval = Interval(at, None, None, "seeds")
    dispersion = Dispersion((interval,) * count, (0.95,) * count, (0.02,) * count)
    (text,) = sentences(Explanation("net", "supervised", 5, dispersion=dispersion))
    assert f"Its scores {says}: of the best 16th" in text


def policy():
    options = sequential_options(
        47,
        network="pointer",
        width=8,
        attention=0,
        sharpness=4.0,
        features="all",
        balance="mask",
        validity="mask",
    )
    torch.manual_seed(0)
    network = make_policy(options.policy)
    return options, network.state_dict()


def test_a_sequential_policy_with_a_feature_shuffled_is_still_even_and_the_same_again():
    options, state = policy()
    tables = SequentialTables(options)
    tables.load_state_dict(state)
    scenarios = sample_batch(ScenarioConfig(), 8, stream("validation", 3))
    arguments = (scenarios.hashes, scenarios.after, 47)
    whole = tables.build_batch(*arguments)
    changed = []
    for (name, one), (_, again) in zip(_sequential(tables), _sequential(tables), strict=True):
        built = one.build_batch(*arguments)
        np.testing.assert_array_equal(built, again.build_batch(*arguments))
        assert (table_scores(built, scenarios.after).spread <= 1).all()
        if (built != whole).any():
            changed.append(name)
    assert {"stratified score", "independent score"} & set(changed)


def test_a_sequential_policy_is_explained_by_what_it_reads():
    options, state = policy()
    run = make_run("table_ppo", (0.1,))
    learned.save(run.trial_folder(0), "sequential", options.model_dump(), state, {"size": 47})
    (found,) = explained(run)
    assert found.kind == "ppo"
    assert found.dispersion is None
    assert {"load so far", "rank by stratified score", "number of backends"} <= {e.feature for e in found.importance}
    assert draw_explanation(found).name == "learned-ppo"


def test_prices_are_those_of_all_seeds():
    run = make_run("table_es", (0.1, 0.2))
    for seed in range(2):
        steps = torch.full((3, 5), (seed + 1) << 19, dtype=torch.int64)
        learned.save(run.trial_folder(seed), "priced", {"levels": 3, "knots": 5}, {"steps": steps}, {"size": 47})
    (found,) = explained(run)
    assert found.prices.shape == (2, 3, 5)
    assert found.prices[:, 0, 0].tolist() == [0.5, 1.0]
    assert "prices" in draw_explanation(found).alt


def test_networks_that_nobody_can_ask_are_left_out():
    assert explained(make_run("table_supervised", (0.1,))) == []


def test_only_the_first_of_a_kind_is_explained():
    runs = [pair_run(column=-2, seeds=1), pair_run(column=0, seeds=1)]
    found = explain([m for m in methods([str(run.folder) for run in runs], ["maglev"]) if m.trained])
    assert [each.importance[0].feature for each in found] == ["stratified draw 1"]


def test_the_longest_feature_fits_beside_its_bar():
    from matplotlib.figure import Figure

    from lab.compare.drawing import Format
    from lab.compare.explain_figures import _paint_importance

    canvas = Figure(figsize=(8, 4), dpi=100)
    axes = canvas.add_subplot()
    rises = [Interval(1.0, 0.5, 1.5, "seeds"), Interval(0.1, None, None, "seeds")]
    importance = tuple(
        Importance(name, rise) for name, rise in zip(("entries that want it most", "n"), rises, strict=True)
    )
    _paint_importance(axes, importance, "#0060a8", Format(narrow=False))
    assert min(label.get_window_extent().x0 for label in axes.get_yticklabels()) >= 0


def test_a_policy_that_sees_the_table_in_force_is_not_explained_as_one_of_the_set():
    options = sequential_options(
        11,
        network="pointer",
        width=4,
        attention=0,
        sharpness=1.0,
        features="hashes",
        balance="mask",
        validity="mask",
        information="stateful",
    )
    assert list(_redrawn(SequentialTables(options))) == []
