import numpy as np
import pytest

from demure.demo.simulation import ContentProcess, simulate
from demure.diagnosis.calibration import calibration_error


def simulate_alike(ratios, popularity, reliance, lengths, seed=0, **shares):
    """Simulate users with the same affinity, ``ratios`` (M, I)."""
    return simulate(process_alike(ratios, popularity, reliance, lengths, **shares), np.random.default_rng(seed))


def process_alike(ratios, popularity, reliance, lengths, **shares):
    ratios = np.asarray(ratios, float)
    return ContentProcess(
        lambda users: np.repeat(ratios[:, None], len(users), axis=1),
        np.asarray(popularity, float),
        np.asarray(reliance, float),
        np.asarray(lengths),
        **shares,
    )


def test_the_posterior_by_hand():
    # Modality 0 draws users to items 0 and 1 alike, modality 1 to item 1 alone; reliance .4 and .6.
    # Item 1: .4 * 1/2 against .6 * 1, so modality 0 has .2 / .8 = 1/4. Item 0 can only come from modality 0.
    simulation = simulate_alike([[1, 1, 0], [0, 1, 0]], [1 / 3] * 3, [[0.4, 0.6]] * 2000, [1] * 2000)
    by_item = {item: simulation.posterior[simulation.items == item] for item in (0, 1)}
    assert set(simulation.items) == {0, 1}
    assert by_item[0] == pytest.approx(np.tile([1, 0], (len(by_item[0]), 1)))
    assert by_item[1] == pytest.approx(np.tile([1 / 4, 3 / 4], (len(by_item[1]), 1)))
    assert (simulation.items == 1).mean() == pytest.approx(0.8, abs=0.03)
    assert simulation.caused[simulation.items == 1, 0].mean() == pytest.approx(1 / 4, abs=0.03)


def test_no_item_twice_and_the_order_is_kept():
    simulation = simulate_alike(np.ones((1, 12)), [1 / 12] * 12, [[1]] * 50, np.arange(50) % 12 + 1)
    for user in range(50):
        mine = simulation.users == user
        assert simulation.step[mine].tolist() == list(range(user % 12 + 1))
        assert len(set(simulation.items[mine])) == mine.sum()
    assert (np.diff(simulation.users) >= 0).all()


def test_a_cause_with_nothing_left_gives_way():
    # Modality 1 has only item 3 to offer: once taken, all the rest is by modality 0, and then by no reason.
    simulation = simulate_alike([[1, 1, 1, 0, 0], [0, 0, 0, 1, 0]], [0.2] * 5, [[0.01, 0.99]] * 100, [5] * 100)
    assert simulation.items.reshape(100, 5).argsort(axis=1).argsort(axis=1).shape == (100, 5)
    assert (simulation.items[simulation.step == 4] == 4).all()
    assert not simulation.caused[simulation.step == 4].any()
    assert (simulation.posterior[simulation.step == 4] == 0).all()
    assert simulation.caused[simulation.step < 4].any(axis=1).all()


def test_a_missing_modality_never_causes():
    ratios = np.ones((2, 10))
    ratios[0, :5] = 0
    simulation = simulate_alike(ratios, [0.1] * 10, [[0.5, 0.5]] * 300, [4] * 300, p_none=0.2)
    lacking = simulation.items < 5
    assert not simulation.caused[lacking, 0].any()
    assert (simulation.posterior[lacking, 0] == 0).all()


def test_shares_of_none_and_two_are_kept_and_the_posterior_is_calibrated():
    random = np.random.default_rng(1)
    ratios = random.gamma(0.5, size=(3, 4, 200))
    process = ContentProcess(
        lambda users: ratios[:, users % 4],
        np.full(200, 1 / 200),
        random.dirichlet([1, 1, 1], 2000),
        np.full(2000, 8),
        p_none=0.2,
        p_two=0.3,
    )
    simulation = simulate(process, random)
    count = simulation.caused.sum(axis=1)
    assert [(count == n).mean() for n in (0, 1, 2)] == pytest.approx([0.2, 0.5, 0.3], abs=0.01)
    assert simulation.posterior.min() >= 0
    assert simulation.posterior.max() <= 1 + 1e-9
    assert calibration_error(simulation.caused.ravel(), simulation.posterior.ravel().clip(0, 1)) < 0.01


def test_the_seed_decides():
    arguments = (np.ones((2, 20)), [0.05] * 20, [[0.5, 0.5]] * 9, [5] * 9)
    assert np.array_equal(simulate_alike(*arguments, seed=1).items, simulate_alike(*arguments, seed=1).items)
    assert not np.array_equal(simulate_alike(*arguments, seed=1).items, simulate_alike(*arguments, seed=2).items)


def test_expected_choices_by_hand():
    # Two users with two choices each, by modality 0 (interest in items 0 and 1) or by 1 (in item 1), as likely as not.
    # Item 0: 2 * 1/2 * 1/2 = 1/2 each. With the content of item 2 in modality 0, nobody's, it is never chosen. Item 2
    # with that of item 0: popularity is 1/3 for all, so by modality 0 with 1/3, 2 * 1/2 * 1/3.
    process = process_alike([[1, 1, 0], [0, 1, 0]], [1 / 3] * 3, [[0.5, 0.5]] * 2, [2, 2])
    before, after = process.expected_choices(0, 0, 2)
    assert before.tolist() == pytest.approx([0.5, 0.5])
    assert after.tolist() == [0, 0]
    before, after = process.expected_choices(2, 0, 0)
    assert before.tolist() == [0, 0]
    assert after.tolist() == pytest.approx([1 / 3, 1 / 3])
    assert process.expected_choices(1, 1, None)[1].tolist() == pytest.approx([0.5, 0.5])


def test_expected_choices_are_those_of_a_simulation():
    ratios = np.random.default_rng(3).gamma(0.5, size=(2, 12))
    shares = {"p_none": 0.1, "p_two": 0.3}
    process = process_alike(ratios, np.arange(1, 13) / 78, [[0.3, 0.7]] * 20000, [1] * 20000, **shares)
    swapped = ratios.copy()
    swapped[1, 4] = ratios[1, 7]
    before, after = process.expected_choices(4, 1, 7)
    simulated = [
        (simulate_alike(r, np.arange(1, 13) / 78, process.reliance, [1] * 20000, **shares).items == 4).sum()
        for r in (ratios, swapped)
    ]
    assert [before.sum(), after.sum()] == pytest.approx(simulated, rel=0.08)


def test_tables():
    simulation = simulate_alike([[1, 0], [0, 1]], [0.5, 0.5], [[0.5, 0.5]], [2])
    users, items = np.array(["u"], object), np.array(["a", "b"], object)
    interactions = simulation.interactions(users, items)
    assert interactions["timestamp"].diff().tolist()[1] == 3600
    truth = simulation.truth(users, items, ("image", "text"))
    assert len(truth) == 4
    assert set(zip(truth.item_id[truth.caused == 1], truth.modality[truth.caused == 1], strict=True)) == {
        ("a", "image"),
        ("b", "text"),
    }
