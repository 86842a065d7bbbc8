"""What a report claims must follow from the scores, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lab.compare import answer, titles, words
from lab.compare.analysis import analyse
from lab.compare.evaluate import SCORES, Evaluation
from lab.compare.figures import draw
from lab.compare.methods import Method
from lab.compare.suites import suite

SUITE = suite("churn-47", 60)


def scored(rng, level, seeds=1, *, even=True, between=0.004, invalid=0.0):
    """Scores of a made-up builder: `level` is its mean excess. The hardness of a fleet is shared by all of them."""
    groups = {}
    hard = np.random.default_rng(99)
    for group, batch in SUITE.groups.items():
        excess = level + hard.normal(0, 0.02, len(batch)) + rng.normal(0, 0.004, (seeds, len(batch)))
        excess += rng.normal(0, between, (seeds, 1)) if seeds > 1 else 0.0
        optimum = np.full((seeds, len(batch)), 1 / int(group))
        values = {
            "excess": excess,
            "changed": excess + optimum,
            "forced": optimum,
            "optimum": optimum,
            "regret": excess,
            "invalid": np.full_like(excess, invalid),
            "spread": np.full_like(excess, 1.0 if even else 4.0),
            "max_over_mean": np.full_like(excess, 1.08 if even else 1.5),
            "imbalance": np.full_like(excess, 0.0 if even else 0.1),
        }
        assert set(values) == set(SCORES)
        groups[group] = values
    return Evaluation(groups, 1e-5, 1e-5)


def classical(label, **kwargs):
    return Method(label, "classical", (label,), **kwargs)


def trained(label, seeds=5, kind="supervised", before=True):
    builders = tuple(f"{kind}:r#{i}" for i in range(seeds))
    return Method(label, kind, builders, untrained_label=f"{label}, untrained" if before else None)


def untrained(method):
    return Method(f"{method.label}, untrained", method.kind, method.builders, trained=False)


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    net, worse = trained("net"), trained("worse", kind="ppo", before=False)
    return analyse(
        SUITE,
        {
            classical("maglev"): scored(rng, 0.08),
            classical("even"): scored(rng, 0.05),
            classical("uneven"): scored(rng, 0.0, even=False),
            classical("told", stateless=False): scored(rng, -0.05),
            net: scored(rng, 0.03, 5),
            untrained(net): scored(rng, 0.6, 5),
            worse: scored(rng, 0.2, 5),
        },
    )


def test_the_best_are_found_among_stateless_classical_tables(found):
    assert (found.best_exact, found.best_classical) == ("even", "uneven")


def test_the_front_holds_no_dominated_and_no_unranked_method(found):
    assert {row.method.label for row in found.rows if row.on_front} == {"net", "uneven"}


def test_verdicts_follow_the_made_up_truth(found):
    verdicts = {(d.method, d.baseline): d.verdict for d in found.differences}
    assert verdicts["net", "maglev"] == verdicts["net", "even"] == verdicts["net", "net, untrained"] == "better"
    assert verdicts["worse", "maglev"] == verdicts["maglev", "even"] == "worse"
    assert verdicts["net", "worse"] == "better"
    assert not any("told" in pair for pair in verdicts)


def test_a_difference_is_that_of_the_rows_and_its_interval_holds_it(found):
    for difference in found.differences:
        rows = [found.row(label).scores["excess"].value for label in (difference.method, difference.baseline)]
        assert difference.excess.value == pytest.approx(rows[0] - rows[1], abs=2e-3)
        assert difference.excess.low <= difference.excess.value <= difference.excess.high
    exact = next(d for d in found.differences if (d.method, d.baseline) == ("net", "maglev"))
    values = [found.row(label).scores["excess"].value for label in ("net", "maglev")]
    assert exact.excess.value == pytest.approx(values[0] - values[1], abs=1e-12)


def test_what_was_resampled_is_said(found):
    over = {row.method.label: row.scores["excess"].over for row in found.rows}
    assert (over["maglev"], over["net"]) == ("fleets", "seeds")
    assert {d.excess.over for d in found.differences if "net" in d.method} == {"seeds and fleets"}


def test_the_churn_ratio_is_a_ratio_of_sums(found):
    row = found.row("maglev")
    changed, optimum = (sum(1 / n for n in (3, 5, 7, 10, 16, 27)) + x for x in (0.0, 0.0))
    excess = sum(row.by_group[g]["excess"].value for g in SUITE.groups)
    assert row.scores["churn_ratio"].value == pytest.approx((changed + excess) / optimum)


def test_a_method_against_itself_is_exactly_zero():
    evaluation = scored(np.random.default_rng(1), 0.05, 5)
    net = trained("net")
    found = analyse(
        SUITE,
        {classical("maglev"): scored(np.random.default_rng(2), 0.08), net: evaluation, untrained(net): evaluation},
    )
    itself = next(d for d in found.differences if d.against == "its untrained network")
    for interval in (itself.excess, itself.churn_ratio, itself.imbalance, *itself.by_group.values()):
        assert (interval.value, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert itself.verdict == "no difference shown"


def test_a_classical_table_that_equals_maglev_is_exactly_as_good():
    evaluation = scored(np.random.default_rng(1), 0.05)
    found = analyse(SUITE, {classical("maglev"): evaluation, classical("twin"): evaluation})
    difference = next(d for d in found.differences if d.baseline == "maglev")
    assert (difference.excess.low, difference.excess.high) == (0.0, 0.0)


def test_the_order_of_seeds_changes_nothing():
    rng = np.random.default_rng(3)
    net, before = scored(rng, 0.05, 5), scored(rng, 0.3, 5)
    maglev = scored(rng, 0.08)
    order = np.array([3, 0, 4, 1, 2])

    def shuffled(evaluation):
        return Evaluation({g: {s: v[order] for s, v in by.items()} for g, by in evaluation.scores.items()}, 1e-5, 1e-5)

    method = trained("net")
    plain = analyse(SUITE, {classical("maglev"): maglev, method: net, untrained(method): before})
    other = analyse(SUITE, {classical("maglev"): maglev, method: shuffled(net), untrained(method): shuffled(before)})
    for a, b in zip(plain.differences, other.differences, strict=True):
        for name in ("value", "low", "high"):
            assert getattr(a.excess, name) == pytest.approx(getattr(b.excess, name), abs=1e-12)
    for a, b in zip(plain.rows, other.rows, strict=True):
        assert a.scores["excess"].low == pytest.approx(b.scores["excess"].low, abs=1e-12)


def test_one_more_method_changes_no_other_row():
    rng = np.random.default_rng(4)
    maglev, net = scored(rng, 0.08), scored(rng, 0.05, 5)
    few = analyse(SUITE, {classical("maglev"): maglev, trained("net"): net})
    more = analyse(SUITE, {classical("extra"): scored(rng, 0.5), classical("maglev"): maglev, trained("net"): net})
    assert few.row("net").scores == more.row("net").scores
    assert few.row("net").by_group == more.row("net").by_group


def test_tables_with_entries_that_lead_nowhere_are_not_ranked():
    rng = np.random.default_rng(5)
    broken = trained("broken", before=False)
    found = analyse(SUITE, {classical("maglev"): scored(rng, 0.08), broken: scored(rng, 0.0, 2, invalid=0.01)})
    assert not found.row("broken").on_front
    assert [heading for heading, rows in found.ordered() if found.row("broken") in rows] == ["Not ranked"]


def test_words_say_who_wins_and_where_learning_loses(found):
    text = " ".join(sentence for _, sentences in words.summary([found]) for sentence in sentences)
    assert "against even, better by" in text
    assert "worse at every n (better nowhere)" in text
    maglev, best = answer.lead([found])
    assert maglev.startswith("Yes: net (5 seeds) moves 3.1 % [")
    assert "of all entries needlessly, Maglev 8.0 % [" in maglev
    assert "; better by 4." in maglev
    assert best.startswith("Against even, the best classical table that is exactly even: better by 2.")
    choice = dict(answer.advice([found]))["Exactly even, fewest moves"]
    assert choice.startswith("net: excess")
    assert "shown better than even over 5 seeds" in choice


def test_one_seed_is_never_advised():
    rng = np.random.default_rng(6)
    one = trained("one", 1, before=False)
    found = analyse(SUITE, {classical("maglev"): scored(rng, 0.08), one: scored(rng, 0.01, 1)})
    assert dict(answer.advice([found]))["Exactly even, fewest moves"].startswith("maglev")
    assert "one seed: not a result" in titles.pareto_title(found)
    assert answer.lead([found])[0].startswith("Too few seeds to say. At first look one (one seed: not a result) moves ")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_on_fewer_than_five_seeds_nothing_is_said_to_win_or_lose(count):
    rng = np.random.default_rng(8)
    good, bad = trained("good", count, before=False), trained("bad", count, kind="ppo", before=False)
    uneven = trained("uneven", count, before=False)
    found = analyse(
        SUITE,
        {
            classical("maglev"): scored(rng, 0.08),
            classical("even"): scored(rng, 0.05),
            good: scored(rng, 0.01, count),
            bad: scored(rng, 0.2, count),
            uneven: scored(rng, -0.1, count, even=False),
        },
    )
    note = "one seed: not a result" if count == 1 else f"{count} seeds: too few for a result"
    sentences = answer.lead([found])
    assert sentences[0].startswith(f"Too few seeds to say. At first look good ({note}) moves ")
    assert "lower by 4." in sentences[1]
    texts = [*sentences, titles.pareto_title(found), titles.by_n_title(found)]
    texts += [sentence for _, section in words.summary([found]) for sentence in section]
    assert not [text for text in texts for word in ("beats", "loses", "better", "worse") if word in text]
    assert all(note in text for text in texts if text.startswith("good") and "needlessly" in text)
    trained_rows = [row for row in answer.answer_rows([found]) if row.method in ("good", "bad", "uneven")]
    assert len(trained_rows) == 3
    for row in trained_rows:
        assert note in row.note
        assert not any(word in row.maglev + row.best + row.maglev_where for word in ("better", "worse"))
    assert {words.says(d) for d in found.differences if d.seeds} == {"lower", "higher"}
    assert not [choice for _, choice in answer.advice([found]) if choice.startswith(("good", "bad", "uneven"))]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.7e-5, "37 µs"), (0.0021, "2.1 ms"), (14.0, "14 s"), (276.0, "4.6 min"), (8280.0, "2.3 h")]
)
def test_durations_are_for_people(seconds, text):
    assert words.duration(seconds) == text


def answered(level, **kwargs):
    rng = np.random.default_rng(11)
    scores = {classical("maglev"): scored(rng, 0.08), classical("even"): scored(rng, 0.05)}
    return analyse(SUITE, scores | {trained("net", before=False, **kwargs): scored(rng, level, 5)})


@pytest.mark.parametrize(("level", "says"), [(0.04, "Yes: "), (0.2, "No: "), (0.08, "It is not shown to: ")])
def test_the_answer_is_that_of_the_interval(level, says):
    assert answer.lead([answered(level)])[0].startswith(says)


def test_the_first_table_holds_who_wins_at_what_cost_and_where(found):
    rows = {row.method: row for row in answer.answer_rows([found])}
    assert list(rows) == ["net", "worse", "even", "maglev"]
    assert rows["net"].maglev.startswith("better by 4.")
    assert rows["net"].best_where == "better at every n"
    assert rows["worse"].maglev_where == "worse at every n"
    assert rows["net"].building == "10 µs (1 ×)"
    assert (rows["maglev"].maglev, rows["even"].best) == ("", "")


def test_an_even_table_answers_before_an_uneven_one_that_moves_less():
    rng = np.random.default_rng(12)
    found = analyse(
        SUITE,
        {
            classical("maglev"): scored(rng, 0.08),
            trained("even", before=False): scored(rng, 0.05, 5),
            trained("slack", before=False): scored(rng, 0.0, 5, even=False),
            trained("nowhere", before=False): scored(rng, 0.0, 5, invalid=0.01),
        },
    )
    assert answer.lead([found])[0].startswith("Yes: even (5 seeds)")


def test_without_anything_trained_the_answer_names_the_table_to_beat():
    rng = np.random.default_rng(13)
    found = analyse(SUITE, {classical("maglev"): scored(rng, 0.08), classical("even"): scored(rng, 0.05)})
    (sentence,) = answer.lead([found])
    assert sentence.startswith("Nothing trained is compared: the table to beat on churn-47, first 60 is even")


def test_where_n_is_told_by_another_suite_that_suite_and_its_table_to_beat_are_named():
    rng = np.random.default_rng(14)
    net = trained("net", before=False)
    main = {classical("maglev"): scored(rng, 0.08), classical("one"): scored(rng, 0.05), net: scored(rng, 0.02, 5)}
    other = dict(zip((classical("maglev"), classical("two"), net), main.values(), strict=True))
    plain = replace(SUITE, name="scenarios-47", groups={"all": SUITE.groups["16"]})
    pooled = {method: Evaluation({"all": evaluation.scores["16"]}, 1e-5, 1e-5) for method, evaluation in main.items()}
    rows = {row.method: row for row in answer.answer_rows([analyse(plain, pooled), analyse(SUITE, other)])}
    assert rows["net"].maglev_where == "better at every n, churn-47"
    assert rows["net"].best_where == "better at every n, churn-47 against two"
    assert rows["one"].best_where == ""


def test_what_is_not_ranked_stands_behind_what_is_and_says_so():
    rng = np.random.default_rng(15)
    told = replace(trained("told", before=False), stateless=False)
    found = analyse(
        SUITE,
        {
            classical("maglev"): scored(rng, 0.08),
            told: scored(rng, 0.01, 5),
            trained("slack", before=False): scored(rng, 0.0, 5, even=False),
            trained("even", before=False): scored(rng, 0.05, 5),
        },
    )
    rows = answer.answer_rows([found])
    assert [row.method for row in rows] == ["even", "slack", "told", "maglev"]
    assert rows[2].note == "5 seeds; not ranked"
    assert [heading for heading, _ in words.summary([found])][1:] == [
        "even (5 seeds)",
        "slack (5 seeds)",
        "told (5 seeds)",
    ]
    assert titles.by_n_title(found).startswith("even ")


def test_of_many_trained_tables_the_best_are_drawn_by_n():
    rng = np.random.default_rng(16)
    levels = {f"net-{i}": 0.02 + 0.01 * i for i in range(8)}
    scores = {trained(label, before=False): scored(rng, level, 5) for label, level in levels.items()}
    found = analyse(SUITE, {classical("maglev"): scored(rng, 0.08), **scores})
    figure = next(f for f in draw([found], [], {}) if f.name.startswith("excess-by-n"))
    assert "the best of what was trained" in figure.caption
    assert "net-5" in figure.alt
    assert "net-6" not in figure.alt


def test_a_verdict_with_its_amount_stands_in_the_units_of_the_headline(found):
    (difference,) = [d for d in found.differences if (d.method, d.against) == ("net", "Maglev")]
    assert words.says_by(difference).startswith("better by 4.")
    assert "points" not in words.says_by(difference)
