"""The graph baselines with features of their own way: each special part against its slow form or by hand."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from support.histories_by_hand import histories

from demure.baselines.da_mrs import consistent_items, feedback_weights, items_together, preference_gap
from demure.baselines.graph import nearest_items
from demure.baselines.learned import Task
from demure.baselines.mgcn import info_nce
from demure.baselines.registry import learned_options, make_learned
from demure.baselines.smore import strongest_edges

CONTENT = ("lattice", "bm3", "mgcn", "da-mrs", "smore")
LISTS = [[0, 1, 2], [2, 3, 4], [5, 6, 1], [7, 8, 9, 10], [3, 11, 0], [3]]


def made(name, task, **options):
    torch.manual_seed(0)
    return make_learned(name, learned_options(name, {"dim": 8, "neighbours": 3, **options}), task)


@pytest.fixture
def task():
    """Item 3 has no image; the last user has only that item."""
    random = np.random.default_rng(1)
    content = {name: random.normal(size=(12, 5)).astype(np.float32) for name in ("image", "text")}
    content["image"][3] = 0
    return Task(histories(LISTS), 12, content)


def bm3(task, **options):
    torch.manual_seed(0)
    return make_learned("bm3", learned_options("bm3", {"dim": 8, **options}), task)


def layers_of(gate):
    """Weight and bias of the linear layers of a small network, float64."""
    return [(layer.weight.detach().double().numpy(), layer.bias) for layer in gate if hasattr(layer, "weight")]


def linear(layer, rows):
    weight, bias = layer
    return rows @ weight.T + (0 if bias is None else bias.detach().double().numpy())


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("names", [("audio",), ("audio", "image", "text")])
def test_any_number_of_modalities_and_items_without_any(task, name, names):
    """One item has no feature at all: it is scored, and its gradient is finite."""
    random = np.random.default_rng(2)
    content = {modality: random.normal(size=(12, 4)).astype(np.float32) for modality in names}
    for features in content.values():
        features[3] = 0
    bare = Task(task.train, 12, content)
    model = bm3(bare) if name == "bm3" else made(name, bare)
    generator = torch.Generator().manual_seed(0)
    loss = model.train().step_loss(model.batches(generator)[0], generator)
    loss.backward()
    assert all(torch.isfinite(part.grad).all() for part in model.parameters() if part.grad is not None)
    scores = model.scorer(task.train)(np.arange(6))
    assert np.isfinite(scores).all()
    assert len(np.unique(scores[:, 3])) == 6


@pytest.mark.parametrize("name", CONTENT)
def test_the_parts_of_two_processes_add_up_to_the_loss(task, name):
    model = (bm3(task) if name == "bm3" else made(name, task, **({"dropout": 0.5} if name == "smore" else {}))).train()
    losses = []
    for rows_of in (lambda batch: batch, lambda batch: batch[:5], lambda batch: batch[5:], lambda batch: batch[:0]):
        generator = torch.Generator().manual_seed(0)
        batch = model.batches(generator)[0]
        torch.manual_seed(3)  # dropout
        losses.append(model.step_loss(batch, generator, rows_of))
    assert losses[3] is None
    torch.testing.assert_close(losses[1] + losses[2], losses[0])


def test_contrast_by_hand():
    """Cosines 1 and 0 with the own row and the other, at temperature 1/2: -log e^2 / (e^2 + 1)."""
    rows = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    assert float(info_nce(rows, 2 * rows, 0.5)) == pytest.approx(np.log1p(np.exp(-2)))


def test_edges_by_cosine_are_normalised_by_their_sums():
    features = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=np.float32)
    graph = nearest_items(features, 2, by_cosine=True).toarray()
    c = 0.5**0.5  # each item with itself (1) and with item 1, or item 1 with itself and one end, cosine c
    end = 0 if graph[1, 0] else 2
    expected = np.zeros((4, 4))
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (2, 1), (1, end)):
        expected[i, j] = (1.0 if i == j else c) / (1 + c)
    assert np.allclose(graph, expected, atol=1e-6)


def dense_sides(model, gated):
    """Views (A, D) per modality from the items' gated embeddings (I, D): item graph, then users by their items."""
    users = model.of_users.forward.to_dense().double().numpy()
    views = {}
    for name, items in gated.items():
        graph = model.fused_graph if name == "" else model.item_graphs[name]
        reached = graph.forward.to_dense().double().numpy() @ items
        views[name] = np.concatenate([users @ reached, reached])
    return views


def test_mgcn_against_its_equations(task):
    model = made("mgcn", task)
    items = model.items.weight.detach().double().numpy()
    gated = {}
    for name, features in task.content.items():
        projected = linear(layers_of([model.project[name]])[0], features.astype(np.float64))
        gated[name] = items * expit(linear(layers_of(model.purify[name])[0], projected))
    views = dense_sides(model, gated)
    behaviour = torch.cat(model.propagate(model.graph)).detach().double().numpy()
    expected = np.zeros_like(behaviour)
    for row in range(len(behaviour)):
        # Item 3 (row 6 + 3), and the user who has no other item (row 5), have no image.
        names = ["text"] if row in (5, 9) else ["image", "text"]
        first, last = layers_of(model.query)
        attention = softmax([float(linear(last, np.tanh(linear(first, views[name][row])))[0]) for name in names])
        shared = sum(weight * views[name][row] for weight, name in zip(attention, names, strict=True))
        own = [
            expit(linear(layers_of(model.prefer[name])[0], behaviour[row])) * (views[name][row] - shared)
            for name in names
        ]
        expected[row] = behaviour[row] + (shared + sum(own)) / 3
    assert np.allclose(torch.cat(model.vectors()).detach().numpy(), expected, atol=1e-5)


def test_smore_filters_as_a_plain_fourier_transform_does(task):
    """Each filtered vector is the circular convolution with a kernel, by sums over all frequencies."""
    model = made("smore", task)
    filtered, fused = model.spectra()
    k, n = np.arange(8)[:, None], np.arange(8)[None, :]
    transform = np.exp(-2j * np.pi * k * n / 8) / 8**0.5

    def whole(half):  # the spectrum of a real vector is conjugate symmetric; its ends are real
        half = np.concatenate([half[..., :1].real, half[..., 1:4], half[..., 4:].real], axis=-1)
        return np.concatenate([half, half[..., 1:4][..., ::-1].conj()], axis=-1)

    spectra, fused_filter = {}, torch.view_as_complex(model.fused_filter).detach().numpy()
    for name, features in task.content.items():
        projected = linear(layers_of([model.project[name]])[0], features.astype(np.float64))
        spectra[name] = projected @ transform.T
        own = torch.view_as_complex(model.filters[name]).detach().numpy()
        expected = (whole(spectra[name][:, :5] * own) @ transform.conj()).real
        assert np.allclose(filtered[name].detach().numpy(), expected, atol=1e-5)
    product = spectra["image"] * spectra["text"]
    product[3] = spectra["text"][3]  # item 3 has no image
    expected = (whole(product[:, :5] * fused_filter) @ transform.conj()).real
    assert np.allclose(fused.detach().numpy(), expected, atol=1e-5)


def test_smores_fused_graph_has_the_strongest_edges(task):
    graphs = [nearest_items(features, 3, by_cosine=True) for features in task.content.values()]
    image, text = (graph.toarray() for graph in graphs)
    assert np.allclose(strongest_edges(graphs).toarray(), np.maximum(image, text))


def test_bm3_by_hand(task):
    """Without dropout: 1 - cosine of each predicted view and its target, and of the modality that the item has."""
    model = bm3(task, dropout=0.0, modal_weight=2.0, regularisation=0.0, layers=0)
    user, item = torch.tensor([5, 0]), torch.tensor([3, 1])

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    users, items = model.users.weight.detach().double().numpy(), 2 * model.items.weight.detach().double().numpy()
    predict = layers_of([model.predict])[0]
    losses = []
    for u, i, names in ((5, 3, ["text"]), (0, 1, ["image", "text"])):
        loss = 2 - cosine(linear(predict, users[u]), items[i]) - cosine(linear(predict, items[i]), users[u])
        for name in names:
            modal = linear(layers_of([model.project[name]])[0], task.content[name][i].astype(np.float64))
            predicted = linear(predict, modal)
            loss += 2.0 * (2 - cosine(predicted, items[i]) - cosine(predicted, modal))
        losses.append(loss)
    assert float(model.pair_loss(user, item).detach()) == pytest.approx(np.mean(losses), abs=1e-5)


def test_bm3_has_no_gradient_through_its_targets(task):
    """The only pair is (0, 1): with the predictor fixed to zero nothing is left that could move them."""
    model = bm3(task, regularisation=0.0)
    with torch.no_grad():
        model.predict.weight.zero_()
        model.predict.bias.fill_(1.0)
    model.pair_loss(torch.tensor([0]), torch.tensor([1])).backward()
    assert not model.users.weight.grad.any()
    assert not model.items.weight.grad.any()


@pytest.mark.parametrize("kept", [0.0, 0.9, 1.0])
def test_lattice_mixes_two_graphs(task, kept):
    model = made("lattice", task, kept_graph=kept).eval()
    with torch.no_grad():
        model.modal_share.copy_(torch.tensor([0.4, -0.3]))
    share = softmax([0.4, -0.3])
    learned, original = np.zeros((12, 12)), np.zeros((12, 12))
    for weight, (name, features) in zip(share, task.content.items(), strict=True):
        projected = linear(layers_of([model.project[name]])[0], features.astype(np.float64))
        unit = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        cosine = unit @ unit.T
        present = [item for item in range(12) if features[item].any()]
        for item in present:
            for other in sorted(present, key=lambda other, item=item: -cosine[item, other])[:3]:
                learned[item, other] += weight * max(cosine[item, other], 0)
        original += weight * nearest_items(features, 3, by_cosine=True).toarray()
    degree = learned.sum(1)
    learned /= np.sqrt(np.outer(degree, degree))
    items = model.items.weight.detach().double().numpy()
    expected = ((1 - kept) * learned + kept * original) @ items
    assert np.allclose(model.propagate_items(model.items.weight).detach().numpy(), expected, atol=1e-5)


def test_lattice_chooses_neighbours_once_an_epoch_and_keeps_them_when_resumed(task):
    model = made("lattice", task, batch=4).train()
    generator = torch.Generator().manual_seed(0)
    first, second, *_ = model.batches(generator)
    model.step_loss(first, generator)
    chosen = model.nearest_image.clone()
    with torch.no_grad():
        model.project["image"].weight.copy_(torch.randn(8, 5, generator=generator))
    assert not torch.equal(model.nearest("image"), chosen)
    model.step_loss(second, generator)
    assert torch.equal(model.nearest_image, chosen)
    again = made("lattice", task, batch=4).train()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.nearest_image, chosen)
    again.batches(torch.Generator().manual_seed(0))
    again.step_loss(second, generator)
    assert torch.equal(again.nearest_image, chosen)


def test_da_mrs_joins_items_that_are_alike_in_every_modality():
    """Items 0 and 1 look alike and read alike; 0 and 2 look alike alone; item 3 has no text, so its image decides."""
    image = np.array([[1, 0], [1, 0.1], [1, -0.1], [1, 0.2], [-1, 0], [-1, 0.3]], dtype=np.float32)
    text = np.array([[1, 0], [1, 0.1], [-1, 0.1], [0, 0], [-1, 0], [1, 0.2]], dtype=np.float32)
    graphs = consistent_items({"image": image, "text": text}, 6)
    joined = {
        name: {(i, j) for i, j in np.argwhere(graph.toarray() > 0).tolist() if i < j} for name, graph in graphs.items()
    }
    assert joined == {"image": {(0, 1), (0, 3), (1, 3), (2, 3)}, "text": {(0, 1)}}
    assert np.allclose(graphs["text"].toarray()[:2, :2], 0.5)  # each has two edges
    assert not graphs["text"].toarray()[3].any()


def test_da_mrs_joins_items_chosen_together():
    """Item 0 occurs with 1 twice (cosine 2 / sqrt 6), with 2 once (1 / sqrt 3): of two neighbours, 0 and 1 stay."""
    graph = items_together(Task(histories([[0, 1], [0, 1], [0, 2]]), 4), 2).toarray()
    assert np.argwhere(graph[0]).ravel().tolist() == [0, 1]
    assert np.argwhere(graph[2]).ravel().tolist() == [0, 2]
    assert graph[3].tolist() == [0, 0, 0, 1]  # nobody chose it
    assert np.allclose(graph, np.where(graph > 0, 1 / np.sqrt(np.outer((graph > 0).sum(1), (graph > 0).sum(1))), 0))


def test_da_mrs_weighs_feedback_by_hand():
    """Views .9 and .5: mean .7, variance .08, weight .7 exp(-.16). Views .2 and .3 are below .4, none above: 0. Views
    .1 and .6: mean .35, below .4, the best .2 above. One view alone has no variance, and the absent one no part."""
    chosen = torch.tensor([[0.9, 0.5], [0.2, 0.3], [0.1, 0.6], [0.8, 0.99]])
    present = torch.tensor([[True, True], [True, True], [True, True], [True, False]])
    as_it_is, exchanged = feedback_weights(chosen, present, torch.tensor(0.4))
    variances = [0.08, 0.005, 0.125, 0.0]
    expected = [mean * np.exp(-2 * v) for mean, v in zip([0.7, 0.25, 0.35, 0.8], variances, strict=True)]
    assert as_it_is.tolist() == pytest.approx(expected)
    assert exchanged.tolist() == pytest.approx([0, 0, 0.2, 0], abs=1e-6)


def test_da_mrs_preference_gap_is_the_symmetric_divergence():
    torch.manual_seed(1)
    users, items, content = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 4)
    p, q = (expit((users @ (part / part.norm(dim=1, keepdim=True)).T).double().numpy()) for part in (items, content))
    both = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)) + q * np.log(q / p)
    expected = (both + (1 - q) * np.log((1 - q) / (1 - p))).mean()
    assert float(preference_gap(users, items, content)) == pytest.approx(expected, abs=1e-6)
