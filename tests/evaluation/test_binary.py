"""Scores of one logit, against plain counts of every threshold, and the threshold that is chosen."""

import numpy as np
import pytest

import fcn_jax
from fcn_jax.datasets import Sample, Scenes, as_binary
from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.evaluation import BinaryCounts, Evaluator, format_scores
from fcn_jax.evaluation.binary import BINS


def drawn(count: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws labels, a tenth of them void, and probabilities of the foreground that are right now and then."""
    random = np.random.RandomState(seed)
    labels = (random.uniform(size=count) < 0.2).astype(np.uint8)
    probabilities = (0.35 * labels + 0.65 * random.uniform(size=count) ** 2).astype(np.float32)
    labels[random.uniform(size=count) < 0.1] = 255
    return labels, probabilities


def counted(threshold: float = 0.5, seed: int = 0) -> BinaryCounts:
    labels, probabilities = drawn(seed=seed)
    counts = BinaryCounts(threshold)
    counts.update_binary(labels, (probabilities >= threshold).astype(np.uint8), probabilities)
    return counts


def plainly(threshold: float) -> tuple[float, float, float]:
    """Counts true positives, false positives and false negatives."""
    labels, probabilities = drawn()
    predicted = probabilities >= threshold
    return tuple(
        float(found.sum())
        for found in (predicted & (labels == 1), predicted & (labels == 0), ~predicted & (labels == 1))
    )


@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.9])
def test_scores_are_plain_counts(threshold):
    scores = counted(threshold).scores()
    tp, fp, fn = plainly(threshold)
    assert scores.threshold == threshold
    assert scores.iou == scores.class_iou[1] == scores.ranking == tp / (tp + fp + fn)
    assert scores.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn), rel=1e-15)
    assert (scores.precision, scores.recall) == (tp / (tp + fp), tp / (tp + fn))


def test_average_precision_is_that_of_every_threshold():
    points = [plainly(k / BINS) for k in range(BINS)]
    recall = [tp / (tp + fn) for tp, _, fn in points] + [0.0]
    precision = [tp / max(tp + fp, 1) for tp, fp, _ in points]
    expected = sum(p * (recall[k] - recall[k + 1]) for k, p in enumerate(precision))
    found = {counted(threshold).scores().average_precision for threshold in (0.2, 0.5)}
    assert len(found) == 1  # whatever the threshold
    assert found.pop() == pytest.approx(expected, rel=1e-12)  # seen: 4e-15


def test_the_best_threshold_is_the_one_with_the_highest_iou():
    def iou(threshold):
        tp, fp, fn = plainly(threshold)
        return tp / (tp + fp + fn)

    best = counted().at_best_threshold()
    assert best.threshold != 0.5
    assert best.scores().iou == iou(best.threshold) == max(iou(k / BINS) for k in range(1, BINS))
    np.testing.assert_array_equal(best.counts, counted(best.threshold).counts)


def test_of_several_best_thresholds_the_one_nearest_to_a_half():
    counts = BinaryCounts()
    counts.update_binary(np.array([0, 1]), np.array([0, 1]), np.array([0.125, 0.75]))
    assert counts.at_best_threshold().threshold == 0.5
    counts = BinaryCounts()
    counts.update_binary(np.array([0, 1]), np.array([1, 1]), np.array([0.625, 0.75]))
    assert counts.at_best_threshold().threshold == 0.625 + 1 / BINS


def test_without_foreground_nothing_is_chosen():
    counts = BinaryCounts(0.3)
    counts.update_binary(np.zeros(4, np.uint8), np.zeros(4, np.uint8), np.linspace(0, 0.2, 4))
    assert counts.at_best_threshold().threshold == 0.5
    scores = counts.scores()
    assert np.isnan([scores.iou, scores.f1, scores.precision, scores.recall, scores.average_precision]).all()
    assert scores.to_dict()["iou"] is None


def test_counts_add_up():
    total = counted(0.4) + counted(0.4, seed=1)
    np.testing.assert_array_equal(total.counts, counted(0.4).counts + counted(0.4, seed=1).counts)
    np.testing.assert_array_equal(total.histogram, counted(0.4).histogram + counted(0.4, seed=1).histogram)
    with pytest.raises(SettingError, match=r"expected counts of one logit at the threshold 0\.4"):
        counted(0.4) + counted(0.5)


def test_what_cannot_be_counted():
    with pytest.raises(SettingError, match="threshold: expected a probability between 0 and 1, got 1"):
        BinaryCounts(1)
    zeros = np.zeros(3, np.uint8)
    for probabilities in ([0.1, 0.2], [0.1, 0.2, 1.5], [0.1, 0.2, np.nan]):
        with pytest.raises(ArrayError, match="expected probabilities from 0 to 1"):
            BinaryCounts().update_binary(zeros, zeros, np.array(probabilities))


def test_the_table_says_foreground():
    table = format_scores(counted(0.25).scores(), ("background", "crack"))
    assert table.splitlines()[-1].startswith("crack from a probability of 0.25: IoU ")
    assert "average precision" in table


@pytest.fixture(scope="module")
def model():
    """One logit, the same everywhere: -2, sigmoid 0.1192."""
    model = fcn_jax.fcn32s_alexnet(num_classes=1, features=(2, 2, 2, 2, 2), fc_features=2)
    model.score_fr.bias[...] = model.score_fr.bias[...] - 2
    return model


class Masks:
    """One picture, of whose pixels a third is of the only class."""

    categories = ("object",)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        labels = np.zeros((33, 47), np.uint8)
        labels[:11] = 1
        return Sample(np.zeros((33, 47, 3), np.uint8), labels)


@pytest.mark.parametrize(("threshold", "foreground"), [(None, 0.0), (0.1, 1.0)])
def test_a_model_of_one_logit_is_scored_at_its_own_threshold(model, threshold, foreground):
    model.update_meta(threshold=threshold)
    evaluator = Evaluator(model)
    scores = evaluator.run(Masks()).scores()
    assert scores.threshold == (threshold or 0.5)
    assert scores.pixel_accuracy == pytest.approx(1 / 3 if foreground else 2 / 3)
    assert evaluator.names(Masks()) == ("background", "object")


def test_a_dataset_of_several_classes_as_one_of_two():
    scenes = Scenes(2, (40, 50))
    binary = as_binary(scenes, None, ("disc", "bar"))
    assert binary.categories == ("background", "disc + bar")
    expected = np.isin(scenes[1].labels, (1, 5))
    np.testing.assert_array_equal(binary[1].labels, expected)
    assert as_binary(scenes, binary.categories).categories == binary.categories
    for foreground in (("dog",), scenes.categories):
        with pytest.raises(SettingError, match="foreground: expected some of the classes, but not all: "):
            as_binary(scenes, None, foreground)
    with pytest.raises(
        SettingError, match=r"foreground: expected the classes that one logit finds, .* got none"
    ):
        as_binary(scenes, None)
    with pytest.raises(SettingError, match="got dog from the model; name them with foreground"):
        as_binary(scenes, ("background", "dog"))
