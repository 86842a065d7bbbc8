"""The figures that were measured before the first line was written come out again."""

import numpy as np
import pytest

from envs.scenarios import ScenarioConfig, churn_batch, sample_batch, stream
from envs.scoring import churn_ratio, table_scores, transition_scores
from lab.tables import build_batch

CHURN = {3: (0.031, 0.022, 0.017), 5: (0.072, 0.041, 0.034), 7: (0.091, 0.050, 0.042)} | {
    10: (0.126, 0.067, 0.055),
    16: (0.112, 0.087, 0.073),
    27: (0.080, 0.032, 0.025),
}
RENDEZVOUS_PER_ENTRY = {3: 6.6, 5: 7.0, 7: 6.9, 10: 6.6, 16: 5.9, 27: 4.8}
SCENARIOS = {"maglev": 1.77, "balanced": 1.59, "balanced-stratified": 1.48, "rendezvous": 1.16}
FLEETS = 500


@pytest.mark.parametrize("n", CHURN)
@pytest.mark.parametrize(("place", "name"), list(enumerate(["maglev", "balanced", "balanced-stratified"])))
def test_excess_when_one_backend_leaves(n: int, place: int, name: str):
    batch = churn_batch(47, n, FLEETS, stream("validation", 4, n))
    before, after = (build_batch(name, batch.hashes, here, 47) for here in (batch.before, batch.after))
    excess = transition_scores(before, after, batch.before, batch.after).excess
    # Both means have an error; the published one is of 300 fleets or more, and rounded.
    error = excess.std() * np.sqrt(1 / FLEETS + 1 / 300)
    assert excess.mean() == pytest.approx(CHURN[n][place], abs=4 * error + 0.0005)
    assert table_scores(before, batch.before).spread.max() <= 1


@pytest.mark.parametrize("n", RENDEZVOUS_PER_ENTRY)
def test_spread_of_rendezvous_per_entry(n: int):
    batch = churn_batch(47, n, FLEETS, stream("validation", 5, n))
    spread = table_scores(build_batch("rendezvous", batch.hashes, batch.before, 47), batch.before).spread
    error = spread.std() * np.sqrt(1 / FLEETS + 1 / 300)
    assert spread.mean() == pytest.approx(RENDEZVOUS_PER_ENTRY[n], abs=4 * error + 0.05)


@pytest.mark.parametrize("name", SCENARIOS)
def test_churn_ratio_on_the_notebooks_scenarios(name: str):
    batch = sample_batch(ScenarioConfig(), 1000, stream("validation", 6))
    before, after = (build_batch(name, batch.hashes, here, 47) for here in (batch.before, batch.after))
    scores = transition_scores(before, after, batch.before, batch.after)
    ratio = churn_ratio(scores.changed, scores.optimum)
    assert ratio is not None
    # The error of a ratio of sums over pairs, and of the published one over 2,000.
    error = (scores.changed - ratio * scores.optimum).std() / scores.optimum.mean() * np.sqrt(1 / 1000 + 1 / 2000)
    assert ratio == pytest.approx(SCENARIOS[name], abs=4 * error)
