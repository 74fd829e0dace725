"""The confusion matrix and its scores, against plain loops."""

import json
import warnings

import numpy as np
import pytest

from fcn_jax.evaluation.metrics import ConfusionMatrix, format_scores, join_counts, split_counts


def drawn(seed=0, num_classes=5, size=(3, 33, 47)):
    random = np.random.RandomState(seed)
    labels = random.randint(0, num_classes + 1, size).astype(np.uint8)
    labels[labels == num_classes] = 255
    return labels, random.randint(0, num_classes, size).astype(np.uint8)


def counted(labels, predictions, num_classes):
    matrix = ConfusionMatrix(num_classes)
    matrix.update(labels, predictions)
    return matrix


def test_counts_and_scores_equal_a_plain_loop():
    labels, predictions = drawn()
    counts = [[0] * 5 for _ in range(5)]
    for label, prediction in zip(labels.ravel().tolist(), predictions.ravel().tolist(), strict=True):
        if label != 255:
            counts[label][prediction] += 1
    matrix = counted(labels, predictions, 5)
    assert matrix.counts.tolist() == counts
    scores = matrix.scores()
    total = sum(map(sum, counts))
    rows = [sum(row) for row in counts]
    columns = [sum(row[k] for row in counts) for k in range(5)]
    ious = [counts[k][k] / (rows[k] + columns[k] - counts[k][k]) for k in range(5)]
    accuracies = [counts[k][k] / rows[k] for k in range(5)]
    assert scores.pixel_accuracy == pytest.approx(sum(counts[k][k] for k in range(5)) / total, abs=1e-15)
    assert scores.mean_accuracy == pytest.approx(sum(accuracies) / 5, abs=1e-15)
    assert scores.mean_iou == pytest.approx(sum(ious) / 5, abs=1e-15)
    weighted = sum(rows[k] * ious[k] for k in range(5)) / total
    assert scores.frequency_weighted_iou == pytest.approx(weighted, abs=1e-15)
    np.testing.assert_allclose(scores.class_iou, ious, atol=1e-15)
    np.testing.assert_allclose(scores.class_share, np.array(rows) / total, atol=1e-15)


def test_absent_classes_are_left_out_of_the_means():
    labels = np.array([0, 0, 1, 1, 255])
    predictions = np.array([0, 2, 1, 1, 3])  # 2 is only predicted; 3 only where nothing counts
    scores = counted(labels, predictions, 4).scores()
    assert scores.mean_accuracy == pytest.approx((0.5 + 1) / 2)
    assert scores.mean_iou == pytest.approx((0.5 + 1 + 0) / 3)
    assert np.isnan(scores.class_iou[3])
    assert np.isnan(scores.class_accuracy[2])
    assert scores.frequency_weighted_iou == pytest.approx(0.5 * 0.5 + 0.5 * 1)


def test_nothing_counted_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = counted(np.full((3, 4), 255, np.uint8), np.zeros((3, 4), np.uint8), 3).scores()
    assert all(
        np.isnan(value) for value in (scores.pixel_accuracy, scores.mean_iou, scores.frequency_weighted_iou)
    )
    assert json.loads(json.dumps(scores.to_dict(["a", "b", "c"])))["classes"][2]["iou"] is None


def test_counts_beyond_2_to_the_31_are_exact():
    matrix = counted(*drawn(), 5)
    matrix.counts[1, 2] = 2**40 + 1
    total = matrix + counted(*drawn(1), 5)
    assert total.counts[1, 2] == 2**40 + 1 + counted(*drawn(1), 5).counts[1, 2]
    np.testing.assert_array_equal(join_counts(split_counts(total.counts)), total.counts)
    assert split_counts(total.counts).dtype == np.uint32  # JAX keeps these 32 bits
    np.testing.assert_array_equal(total.summed_over_hosts().counts, total.counts)


def test_parts_add_up_to_the_whole():
    labels, predictions = drawn()
    parts = counted(labels[:1], predictions[:1], 5) + counted(labels[1:], predictions[1:], 5)
    np.testing.assert_array_equal(parts.counts, counted(labels, predictions, 5).counts)


def test_errors():
    matrix = ConfusionMatrix(3)
    with pytest.raises(ValueError, match=r"expected predictions of the labels' shape \(2, 3\), got \(3, 2\)"):
        matrix.update(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="expected predictions from 0 to 2, got 0 to 3"):
        matrix.update(np.zeros(2, int), np.array([0, 3]))
    with pytest.raises(ValueError, match="num_classes: expected 1 to 256, got 0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="expected a matrix of 3 classes, got 4"):
        matrix + ConfusionMatrix(4)


def test_the_table_names_every_class():
    table = format_scores(counted(np.array([0, 1]), np.array([0, 0]), 3).scores(), ["sky", "sea", "sand"])
    lines = table.splitlines()
    assert lines[1].split() == ["sky", "50.00%", "100.00%", "50.00%"]
    assert lines[2].split() == ["sea", "50.00%", "0.00%", "0.00%"]
    assert lines[3].split() == ["sand", "0.00%", "-", "-"]
    assert "mean" in lines[5]
    assert "25.00%" in lines[5]
