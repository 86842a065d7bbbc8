"""The networks of sequential policies."""

import pytest
import torch
from pydantic import ValidationError

from lab.tables.policy_networks import ILLEGAL, Critic, PolicyOptions, _Cells, make_policy, mask_scores

SHAPES = {
    "pointer": {"network": "pointer"},
    "attention": {"network": "pointer", "attention": 2},
    "mlp": {"network": "mlp"},
}


def options(**fields) -> PolicyOptions:
    return PolicyOptions(**{"backend_features": 3, "global_features": 2, "width": 8, "slots": 5, **fields})


@pytest.fixture
def observation():
    generator = torch.Generator().manual_seed(0)
    legal = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    backends = torch.rand(3, 5, 3, generator=generator)
    return backends, torch.rand(3, 2, generator=generator), legal


def pointer_of_layers(policy, backends, global_features, legal):
    """The pointer as its layers have it, of every slot, legal or not."""
    weight = legal[..., None].to(backends.dtype)
    hidden = torch.relu(policy.embed(backends) + policy.embed_globals(global_features)[:, None])
    if policy.attention is not None:
        hidden = hidden + policy.attention(hidden, hidden, hidden, key_padding_mask=~legal)[0]
    summary = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
    mixed = torch.relu(policy.mix(hidden) + policy.context(summary)[:, None])
    scores = policy.sharpness * (policy.head(mixed) + policy.direct(backends))[..., 0]
    return torch.where(legal, scores, 0.0), summary


def mlp_of_layers(policy, backends, global_features, legal):
    summary = policy.body(torch.cat([backends.flatten(1), global_features], dim=1))
    return policy.sharpness * policy.head(summary), summary


@pytest.mark.parametrize("shape", SHAPES)
def test_a_policy_and_its_gradients_are_those_of_its_layers(shape, observation):
    """They are computed in other ways, which are faster: the weights must mean what they always did."""
    torch.manual_seed(1)
    policy = make_policy(options(**SHAPES[shape])).double()
    backends, global_features, legal = observation
    inputs = (3 * backends.double() - 1, global_features.double(), legal)
    of_layers = mlp_of_layers if shape == "mlp" else pointer_of_layers
    weights = list(policy.parameters())
    results = []
    for scores, summary in (of_layers(policy, *inputs), policy(*inputs)):
        loss = torch.log_softmax(mask_scores(scores, legal), dim=1)[:, 1].sum() + summary.square().sum()
        results.append([scores, summary, *torch.autograd.grad(loss, weights)])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-10, rtol=1e-8)
    with torch.no_grad():
        for expected, got in zip(results[1], policy(*inputs), strict=False):
            torch.testing.assert_close(got, expected)


def test_a_critic_and_its_gradients_are_those_of_its_layers():
    torch.manual_seed(1)
    critic = Critic(6, 8).double()
    inputs = torch.randn(5, 6, dtype=torch.float64)
    weights = list(critic.parameters())
    results = []
    for values in (0.1 * critic.body(inputs)[:, 0], critic(inputs)):
        results.append([values, *torch.autograd.grad(values.square().sum(), weights)])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("legal", [[[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 1, 1]], [[0, 0], [0, 0]], [[0, 0], [1, 0]]])
def test_spreading_and_summing_over_cells_are_each_other_s_gradient(legal):
    legal = torch.tensor(legal, dtype=torch.bool)
    cells = _Cells.of(legal)
    rows = torch.randn(len(legal), 2, dtype=torch.float64, requires_grad=True)
    values = torch.randn(int(legal.sum()), 2, dtype=torch.float64, requires_grad=True)
    places = legal.nonzero()[:, 0]
    assert torch.equal(cells.spread(rows), rows[places])
    expected = torch.stack([values[places == row].sum(dim=0) for row in range(len(legal))])
    torch.testing.assert_close(cells.sums(values), expected)
    for function, given in ((cells.spread, rows), (cells.sums, values)):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)


@pytest.mark.parametrize("shape", ["pointer", "attention"])
def test_a_pointer_scores_a_backend_alike_in_whichever_slot_it_stands(shape, observation):
    torch.manual_seed(1)
    policy = make_policy(options(**SHAPES[shape]))
    backends, global_features, legal = observation
    scores, _ = policy(backends, global_features, legal)
    order = torch.tensor([3, 0, 4, 2, 1])
    permuted, _ = policy(backends[:, order], global_features, legal[:, order])
    torch.testing.assert_close(permuted, scores[:, order])


@pytest.mark.parametrize("shape", ["pointer", "attention"])
def test_what_stands_in_a_slot_that_is_not_legal_changes_no_score(shape, observation):
    torch.manual_seed(1)
    policy = make_policy(options(**SHAPES[shape]))
    backends, global_features, legal = observation
    scores, summary = policy(backends, global_features, legal)
    other, other_summary = policy(torch.where(legal[..., None], backends, 9.0), global_features, legal)
    torch.testing.assert_close(other, scores)
    torch.testing.assert_close(other_summary, summary)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_of_the_policy_learns_in_step_one(shape, observation):
    torch.manual_seed(1)
    policy = make_policy(options(**SHAPES[shape]))
    backends, global_features, legal = observation
    # Far apart, so that attention attends to something and ReLUs do not all agree.
    scores, _ = policy(30 * (backends - 0.5), global_features, legal)
    torch.log_softmax(mask_scores(scores, legal), dim=1)[[0, 2], [0, 4]].sum().backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 1e-6, name


@pytest.mark.parametrize("shape", SHAPES)
def test_a_row_without_a_legal_slot_is_finite(shape, observation):
    policy = make_policy(options(**SHAPES[shape]))
    backends, global_features, legal = observation
    scores, summary = policy(backends, global_features, torch.zeros_like(legal))
    assert scores.isfinite().all()
    assert summary.isfinite().all()


def test_an_mlp_takes_fewer_slots_than_it_was_built_for(observation):
    policy = make_policy(options(network="mlp"))
    backends, global_features, legal = observation
    padded = torch.cat([backends[:, :2], torch.zeros(3, 3, 3)], dim=1)
    torch.testing.assert_close(
        policy(backends[:, :2], global_features, legal[:, :2])[0], policy(padded, global_features, legal)[0][:, :2]
    )


@pytest.mark.parametrize("dtype", [torch.bool, torch.int8, torch.uint8, torch.int64, torch.float32, torch.float64])
def test_masks_of_every_dtype_forbid_alike(dtype):
    scores = torch.tensor([[1.0, 2.0, 3.0]])
    masked = mask_scores(scores, torch.tensor([[1, 0, 1]]).to(dtype))
    assert masked.tolist() == [[1.0, ILLEGAL, 3.0]]
    assert masked.dtype == torch.float32


def test_the_gradient_passes_through_what_is_legal_and_not_raised():
    scores = torch.tensor([[0.0, 100.0, -7.0, 200.0], [5.0, 5.0, -54.0, -56.0], [3.0, 2.0, 1.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    logits = mask_scores(scores.requires_grad_(), mask)
    assert logits.tolist() == [[40.0, 100.0, 40.0, ILLEGAL], [5.0, 5.0, -54.0, -55.0], 4 * [ILLEGAL]]
    logits.backward(torch.full_like(logits, 2.0))
    assert scores.grad.tolist() == [[0.0, 2.0, 0.0, 0.0], [2.0, 2.0, 2.0, 0.0], 4 * [0.0]]


def test_attention_whose_heads_do_not_divide_the_width_is_refused():
    with pytest.raises(ValidationError, match="multiple of attention"):
        options(attention=3)


@pytest.mark.parametrize("shape", SHAPES)
def test_however_sharp_a_policy_is_no_legal_action_is_ruled_out(shape, observation):
    """A probability of 0 where the last policy had another makes the divergence infinite, which fails a trial."""
    policy = make_policy(options(**SHAPES[shape], sharpness=1000))
    backends, global_features, legal = observation
    logits = mask_scores(policy(100 * backends, global_features, legal)[0], legal)
    probabilities = torch.softmax(logits, dim=1)
    assert (probabilities[legal] > 0).all()
    assert not probabilities[~legal].any()
