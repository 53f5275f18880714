"""Interactions that count by weights: against losses and scores that are worked out apart, and without them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories

from demure.baselines import sasrec
from demure.baselines.learned import Task, denoised_mean
from demure.baselines.registry import learned_options, make_learned
from demure.baselines.weights import history_weights, mean_weights

LISTS = [[0, 3, 5], [1, 2], [4, 6, 7, 1], [2, 8]]
MODELS = (
    ("vbpr", {}),
    ("freedom", {"pruned": 0.0}),
    ("mgcn", {}),
    ("smore", {"dropout": 0}),
    ("sasrec", {"content": 1, "dropout": 0}),
)


def made(name, task, **options):
    torch.manual_seed(0)
    return make_learned(name, learned_options(name, {"dim": 6, **options}), task).train()


@pytest.fixture
def task():
    random = np.random.default_rng(1)
    content = {name: random.normal(size=(9, d)).astype(np.float32) for name, d in (("image", 4), ("text", 5))}
    content["image"][3] = 0
    return Task(histories(LISTS), 9, content)


def weighted(task, **weights):
    full = np.ones(len(task.train.items), np.float32)
    return replace(task, weights={name: full * np.asarray(weight, np.float32) for name, weight in weights.items()})


def loss_of(model, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    (batch,) = model.batches(generator)
    return model.step_loss(batch, generator)


def test_the_loss_of_vbpr_by_hand(task):
    weights = np.linspace(0.1, 1.9, len(task.train.items)).astype(np.float32)
    model = made("vbpr", weighted(task, image=weights, text=0.5), regularisation=0.1)
    interaction, negative = [0, 3, 8], [8, 0, 5]
    user, positive = task.train.owners[interaction], task.train.items[interaction]
    loss = model.interactions_loss(*(torch.as_tensor(part) for part in (interaction, user, positive, negative)))
    tables = {name: tensor.detach().numpy().astype(float) for name, tensor in model.named_parameters()}
    users, items, tastes = tables["users.weight"], tables["items.weight"], tables["tastes.weight"]
    maps = {"image": tables["project.weight"][:, :4], "text": tables["project.weight"][:, 4:]}
    losses, lengths = [], []
    for n, u, i, j in zip(interaction, user, positive, negative, strict=True):
        vectors = {
            item: weights[n] * maps["image"] @ task.content["image"][item]
            + 0.5 * maps["text"] @ task.content["text"][item]
            for item in (i, j)
        }
        score = {
            item: users[u] @ items[item] + tastes[u] @ vectors[item] + tables["bias.weight"][item, 0] for item in (i, j)
        }
        losses.append(np.log1p(np.exp(score[j] - score[i])))
        parts = (users[u], items[i], items[j], tastes[u], vectors[i], vectors[j])
        lengths.append(sum(part @ part for part in parts))
    assert loss.item() == pytest.approx(np.mean(losses) + 0.1 * np.mean(lengths) / 2, rel=1e-5)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_weights_of_one_change_nothing(task, name, options):
    plain = made(name, task, **options)
    ones = made(name, weighted(task, image=1), **options)  # a modality without weights counts in full
    torch.testing.assert_close(loss_of(ones), loss_of(plain))
    scores = [model.scorer(task.train)(np.arange(4)) for model in (ones, plain)]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-6)


def test_many_items_with_weights_of_one_change_nothing(task, monkeypatch):
    monkeypatch.setattr(sasrec, "FULL_UP_TO", 5)
    options = {"content": 1, "dropout": 0, "candidates": 6}
    losses = [loss_of(made("sasrec", own, **options)) for own in (task, weighted(task, text=1), weighted(task, text=0))]
    torch.testing.assert_close(losses[1], losses[0])
    assert not torch.allclose(losses[2], losses[0])


@pytest.mark.parametrize(("name", "options"), [model for model in MODELS if model[0] not in ("mgcn", "smore")])
def test_the_parts_of_two_processes_add_up(task, name, options):
    model = made(name, weighted(task, image=np.linspace(0, 2, 11), text=0.5), **options)
    (batch,) = model.batches(torch.Generator().manual_seed(0))
    parts = [
        model.step_loss(batch, torch.Generator().manual_seed(1), rows) for rows in (lambda t: t[:2], lambda t: t[2:])
    ]
    whole = model.step_loss(batch, torch.Generator().manual_seed(1))
    torch.testing.assert_close(parts[0] + parts[1], whole)


@pytest.mark.parametrize("name", ["vbpr", "freedom"])
def test_without_weight_a_modality_teaches_nothing(task, name):
    model = (
        made(name, weighted(task, image=0, text=1), regularisation=0.1)
        if name == "vbpr"
        else made(name, weighted(task, image=0, text=1), pruned=0.0)
    )
    loss_of(model).backward()
    if name == "vbpr":
        image, text = torch.split(model.project.weight.grad, [4, 5], dim=1)
    else:
        image, text = (model.project[modality].weight.grad for modality in ("image", "text"))
    assert not image.any()
    assert text.any()


def test_without_weight_a_history_of_sasrec_has_no_features(task):
    model = made("sasrec", weighted(task, image=0, text=0), content=1, dropout=0).eval()
    bare = made("sasrec", task, content=1, dropout=0).eval()
    vectors, items = bare.vectors(), torch.as_tensor([[0, 3, 5]])
    with torch.no_grad():
        without = bare.mix(torch.cat([bare.items.weight, torch.zeros_like(bare.content_IF)], 1))
    expected = bare.states(items, without)[:, -1] @ vectors.T
    torch.testing.assert_close(model.scorer(task.train)(np.array([0])), expected.detach())


def test_a_user_is_scored_by_the_mean_of_the_weights(task):
    image = np.array([1, 5, 2, 0, 0, 1, 1, 1, 1, 3, 0], np.float32)
    model = made("vbpr", weighted(task, image=image))
    # The item 3 has no image, so that its weight, 5, does not count; all others have the mean 1.
    reliance = [(1 + 2 + 5) / 7, (0 + 0 + 5) / 7, (1 + 1 + 1 + 1 + 5) / 9, (3 + 0 + 5) / 7]
    assert model.reliance_UM[:, 0].tolist() == pytest.approx(reliance)
    assert model.reliance_UM[:, 1].tolist() == [1] * 4
    parts = model.parts()
    content = (parts.tastes @ parts.content.transpose(1, 2)).detach()
    expected = parts.users @ parts.items.T + torch.tensor(reliance)[:, None] * content[0] + content[1]
    torch.testing.assert_close(model.scorer(task.train)(np.arange(4)), expected.detach())


def test_weights_of_histories(task):
    weights, has = np.arange(1, 12, dtype=np.float32)[:, None], np.ones((11, 1), bool)
    means, mean = mean_weights(task.train, weights, has)
    assert mean.tolist() == [6]
    assert means[:, 0].tolist() == pytest.approx([(6 + 30) / 8, (9 + 30) / 7, (30 + 30) / 9, (21 + 30) / 7])
    later = histories([[0, 3, 5, 8], [1], [4, 6, 0, 7, 1], []])  # user 1 lost an item: it counts as a new user
    rows = history_weights(later, task.train, weights, has, 9)[:, 0]
    assert rows.tolist() == pytest.approx([1, 2, 3, 4.5, 6, 6, 7, 60 / 9, 8, 9])
    others = history_weights(histories([[5]] * 6), task.train, weights, has, 9)
    assert others[:, 0].tolist() == [6] * 6


def test_a_view_of_mgcn_sums_the_items_by_their_weights(task):
    again = replace(task, train=histories([[0, 3, 0], [2]]))
    model = made("mgcn", weighted(again, image=[1, 2, 4, 3]))
    plain = model.of_users.forward.to_dense()
    expected = plain * torch.zeros_like(plain)
    for user, item, weight in ((0, 0, (1 + 4) / 2), (0, 3, 2), (1, 2, 3)):
        expected[user, item] = weight * plain[user, item]
    torch.testing.assert_close(model.users_by_items("image").forward.to_dense(), expected)
    torch.testing.assert_close(model.users_by_items("text").forward.to_dense(), plain)
    assert model.users_by_items(None) is model.of_users


def test_attention_starts_as_none_and_scores_as_it_learns(task):
    plain, model = made("vbpr", task), made("vbpr", weighted(task, image=0.5), attention=1)
    torch.testing.assert_close(loss_of(made("vbpr", task, attention=1)), loss_of(plain))
    torch.manual_seed(3)
    for part in model.attention:
        torch.nn.init.normal_(part.weight)
    users, items = torch.arange(4).repeat_interleave(9), torch.arange(9).repeat(4)
    margins = model.margins(model.parts(), (users, items, torch.zeros_like(items)), model.reliance_UM[users])
    scores = model.scorer(task.train)(np.arange(4))
    torch.testing.assert_close((scores - scores[:, :1]).flatten(), margins.detach(), rtol=1e-4, atol=1e-5)
    share = model.share(model.users.weight[:1], model.items.weight)
    assert share.sum(1).tolist() == pytest.approx([2] * 9)
    assert (share.std(0) > 0.01).all()


def test_large_losses_are_left_out_or_count_less(task):
    losses = torch.tensor([0.1, 3.0, 0.2, 0.3])
    assert float(denoised_mean(losses, 0.25, 0)) == pytest.approx(0.2)
    assert float(denoised_mean(losses, 0, 0)) == pytest.approx(0.9)
    weights = np.exp(-0.5 * losses.numpy())
    assert float(denoised_mean(losses, 0, 0.5)) == pytest.approx((weights * losses.numpy()).mean())
    model = made("bpr", task, truncation=0.4)
    means = []
    for model.epoch in (0, 5, 10, 99):
        means.append(float(model.mean_loss(torch.arange(10.0))))
    assert means == [4.5, 3.5, 2.5, 2.5]
