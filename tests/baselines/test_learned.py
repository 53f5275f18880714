"""The baselines with weights: each idea against its slow form, and none of them cheats."""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories

from demure.baselines.graph import FreedomOptions, SparseMatrix, similar_items
from demure.baselines.learned import Task
from demure.baselines.pairwise import bpr
from demure.baselines.registry import LEARNED, WITH_CONTENT, learned_options, make_learned
from demure.errors import DemureError, RecipeError

SEQUENTIAL = ("sasrec", "unisrec", "mmmlp")


def made(name, task, **options):
    torch.manual_seed(0)
    return make_learned(name, learned_options(name, {"dim": 8, **options}), task)


@pytest.fixture
def task():
    random = np.random.default_rng(1)
    lists = [random.choice(12, size=random.integers(2, 7), replace=False).tolist() for _ in range(9)]
    content = {"image": random.normal(size=(12, 5)).astype(np.float32), "text": np.eye(12, dtype=np.float32)}
    content["image"][3] = 0
    return Task(histories(lists), 12, content)


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("content", [0, 1])
def test_it_learns_what_it_sees(task, name, content):
    if content and name != "sasrec":
        pytest.skip("has no such option")
    model = made(
        name, task, **{"content": content} if name == "sasrec" else {}, **{"dropout": 0} if name in SEQUENTIAL else {}
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(0)
    means = []
    for _ in range(30):
        losses = []
        model.train()
        for batch in model.batches(generator):
            loss = model.step_loss(batch, generator)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    assert np.mean(means[-5:]) < 0.7 * means[0]
    scores = model.scorer(task.train)(np.arange(9))
    assert scores.shape == (9, 12)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", LEARNED)
def test_weights_are_all_there_is(task, name):
    first, second = made(name, task), made(name, task)
    torch.manual_seed(5)
    other = make_learned(name, learned_options(name, {"dim": 8}), task)
    scores, same = (model.scorer(task.train)(np.arange(9)) for model in (first, second))
    assert np.array_equal(scores, same)
    assert not np.allclose(scores, other.scorer(task.train)(np.arange(9)))
    other.load_state_dict(first.state_dict())
    assert np.array_equal(scores, other.scorer(task.train)(np.arange(9)))


def test_the_other_item_is_never_one_of_the_users_own(task):
    model = made("bpr", task)
    users = torch.arange(9).repeat(400)
    drawn = model.sample_negatives(users, torch.Generator().manual_seed(0))
    for user in range(9):
        own = set(task.train.of(user).tolist())
        assert set(drawn[users == user].tolist()) == set(range(12)) - own


def test_bpr_by_hand():
    users, chosen, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 0.5]])
    assert float(bpr(users, chosen, other)) == pytest.approx(np.log1p(np.exp(-2.0)))  # <u, c - o> = 1 + 1


def test_lightgcn_against_a_dense_graph(task):
    model = made("lightgcn", task, layers=3)
    U, items = 9, 12
    adjacency = np.zeros((U + items, U + items))
    for user in range(U):
        for item in task.train.of(user):
            adjacency[user, U + item] = adjacency[U + item, user] = 1
    degree = adjacency.sum(0)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    step = scale[:, None] * adjacency * scale
    layer = torch.cat([model.users.weight, model.items.weight]).detach().numpy().astype(np.float64)
    expected = layer.copy()
    for _ in range(3):
        layer = step @ layer
        expected += layer
    users, vectors = model.vectors()
    assert np.allclose(torch.cat([users, vectors]).detach().numpy(), expected / 4, atol=1e-6)


def test_the_gradient_of_a_sparse_product():
    from scipy.sparse import csr_array

    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]], dtype=np.float32)
    matrix, factor = SparseMatrix(csr_array(dense)), torch.ones(3, 2, requires_grad=True)
    (matrix @ factor).square().sum().backward()
    expected = 2 * dense.T @ (dense @ np.ones((3, 2)))
    assert np.allclose(factor.grad.numpy(), expected)


def test_items_are_joined_to_those_that_look_alike():
    image = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 0]], dtype=np.float32)
    text = np.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1], [5, 5]], dtype=np.float32)
    alone = similar_items({"image": image}, 2, 0.1).toarray()
    # Each with itself and its like, both of degree 2: 1 / sqrt(2 x 2).
    expected = np.zeros((5, 5))
    for pair in ([0, 1], [2, 3]):
        expected[np.ix_(pair, pair)] = 0.5
    assert np.allclose(alone, expected)
    both = similar_items({"image": image, "text": text}, 2, 0.25).toarray()
    assert np.allclose(both, 0.25 * alone + 0.75 * similar_items({"text": text}, 2, 0.1).toarray())


def test_pruning_spares_rare_edges_and_ends_with_learning(task):
    lists = [[0, 1]] * 40 + [[2, 3]]
    model = made("freedom", Task(histories(lists), 12, task.content), pruned=0.5)
    assert isinstance(model.options, FreedomOptions)
    generator, kept = torch.Generator().manual_seed(0), 0
    for _ in range(30):
        model.batches(generator)
        graph = model.pruned.forward.to_dense()
        assert int((graph > 0).sum()) == 2 * 41
        kept += int(graph[40, 41 + 2] > 0)
    assert kept > 25  # a random half would keep 15
    learns, scores = (model.train(mode).vectors()[0].detach() for mode in (True, False))
    assert not torch.allclose(learns, scores)  # the whole graph scores


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_sequences_are_read_without_their_future(task, name):
    model = made(name, task).eval()
    vectors = model.vectors()
    a = torch.tensor([[1, 2, 3, 4, 5]])
    b = torch.tensor([[1, 2, 3, 9, 8]])
    states, changed = model.states(a, vectors), model.states(b, vectors)
    assert torch.allclose(states[:, :3], changed[:, :3], atol=1e-6)
    assert not torch.allclose(states[:, 3], changed[:, 3], atol=1e-3)


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_scores_follow_the_histories_and_not_padding(task, name):
    model = made(name, task)
    lists = [[1, 2, 3], [4], [5, 6, 7, 8, 9], []]
    together = model.scorer(histories(lists))(np.arange(4))
    for user, items in enumerate(lists):
        alone = model.scorer(histories([items]))(np.array([0]))
        assert np.allclose(alone[0], together[user], atol=1e-5)


@pytest.fixture
def many(monkeypatch):
    """Sixty items, which count as many: softmaxes over candidates, sparse gradients."""
    from demure.baselines import sasrec

    monkeypatch.setattr(sasrec, "FULL_UP_TO", 50)
    random = np.random.default_rng(3)
    lists = [(np.cumsum(random.integers(1, 4, size=random.integers(2, 9))) + u) % 60 for u in range(80)]
    return Task(histories([items.tolist() for items in lists]), 60, {"text": np.eye(60, dtype=np.float32)})


@pytest.mark.parametrize("content", [0, 1])
def test_sasrec_with_many_items_learns_from_candidates(many, content):
    model = made("sasrec", many, content=content, dropout=0, candidates=20)
    assert model.rowwise() == [model.items.weight]
    apart = torch.optim.SparseAdam([model.items.weight], lr=0.02)
    rest = torch.optim.Adam([p for p in model.parameters() if p is not model.items.weight], lr=0.02)
    generator, means = torch.Generator().manual_seed(0), []
    for _ in range(25):
        losses = []
        for batch in model.batches(generator):
            loss = model.train().step_loss(batch, generator)
            apart.zero_grad(), rest.zero_grad()
            loss.backward()
            assert model.items.weight.grad.is_sparse
            apart.step(), rest.step()
            losses.append(loss.item())
        means.append(np.mean(losses))
    assert means[-1] < 0.7 * means[0]
    assert model.scorer(many.train)(np.arange(5)).shape == (5, 60)


def test_reading_in_groups_of_like_length_gives_the_loss_of_the_whole_batch(many, monkeypatch):
    from demure.baselines import sasrec

    model = made("sasrec", many, dropout=0, candidates=30).train()
    assert sorted(torch.cat(list(model.batches(torch.Generator().manual_seed(0)))).tolist()) == list(range(80))
    losses = []
    for groups in (1, 4, 7):
        monkeypatch.setattr(sasrec, "_GROUPS", groups)
        losses.append(model.step_loss(torch.arange(9), torch.Generator().manual_seed(1)))
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


def test_the_sampled_softmax_has_the_sum_over_all_items_as_its_mean(many):
    """Of exp(loss) times the target's share, that is: the normaliser, over many draws of a few candidates."""
    from demure.baselines.sasrec import sampled_cross_entropies

    model = made("sasrec", many, candidates=12)
    states = torch.randn(4, 8, generator=torch.manual_seed(0))
    vectors, target = torch.randn(60, 8) * 0.7, torch.tensor([0, 7, 33, 59])
    logits = states @ vectors.T
    generator, normalisers = torch.Generator().manual_seed(1), []
    for _ in range(4000):
        drawn, log_drawn = model.draw(generator)
        losses = sampled_cross_entropies(states, vectors, target, drawn, log_drawn)
        normalisers.append((losses + logits[torch.arange(4), target]).exp())
    mean, error = torch.stack(normalisers).mean(0), torch.stack(normalisers).std(0) / 4000**0.5
    assert ((mean - logits.exp().sum(1)).abs() < 4 * error).all()
    assert (error < 0.05 * mean).all()


def test_what_is_drawn_is_corrected_for_how(many):
    """1 / (expected draws), summed over the draws, counts the items."""
    model = made("sasrec", many, candidates=500)
    generator = torch.Generator().manual_seed(0)
    counted = [float((-model.draw(generator)[1]).exp().sum()) for _ in range(200)]
    assert np.mean(counted) == pytest.approx(60, abs=4 * np.std(counted) / 200**0.5)


def test_what_is_missing_is_named(task):
    bare = Task(task.train, 12)
    for name in WITH_CONTENT:
        if name == "sasrec":
            continue
        with pytest.raises(DemureError, match="needs features of the items"):
            made(name, bare)
    with pytest.raises(DemureError, match="needs features"):
        made("sasrec", bare, content=1)
    for name in SEQUENTIAL:
        with pytest.raises(DemureError, match=f"{name}: .*no timestamps"):
            made(name, Task(histories([[1, 2]], times=False), 12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": 3}, "did you mean dim"),
        ({"layers": 1.5}, "whole number"),
        ({"dim": 0}, "dim is 0; give 1 to"),
        ({"dim": -1}, "dim is -1; give 1 to"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(RecipeError, match=message):
        learned_options("lightgcn", options)
