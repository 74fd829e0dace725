"""The losses as their authors define them, in NumPy and pixel by pixel where that is plainest."""

import numpy as np


def softmax(logits):
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def valid_pixels(logits, labels, ignore_label=255):
    """Gives the probabilities of each label, (P, K), and the labels, (P,), of the valid pixels."""
    chosen = labels != ignore_label
    if logits.shape[-1] == 1:
        foreground = sigmoid(logits[chosen][:, 0])
        return np.stack([1 - foreground, foreground], 1), labels[chosen]
    return softmax(logits[chosen]), labels[chosen]


def cross_entropy(logits, labels, weights=None):
    probabilities, truth = valid_pixels(logits, labels)
    weights = np.ones(probabilities.shape[1]) if weights is None else np.asarray(weights)
    losses = -np.log(probabilities[np.arange(len(truth)), truth])
    return (weights[truth] * losses).sum() / weights[truth].sum()


def focal(logits, labels, gamma, weights=None):
    probabilities, truth = valid_pixels(logits, labels)
    weights = np.ones(probabilities.shape[1]) if weights is None else np.asarray(weights)
    p = probabilities[np.arange(len(truth)), truth]
    return (weights[truth] * (1 - p) ** gamma * -np.log(p)).sum() / weights[truth].sum()


def tversky(logits, labels, alpha, beta, weights=None, present=False):
    probabilities, truth = valid_pixels(logits, labels)
    classes = [1] if logits.shape[-1] == 1 else range(probabilities.shape[1])
    losses, used = [], []
    for index in classes:
        p, t = probabilities[:, index], (truth == index).astype(float)
        tp, fp, fn = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
        losses.append(1 - tp / (tp + alpha * fp + beta * fn) if t.any() else 0.0)
        weight = 1.0 if weights is None else weights[index]
        used.append(weight if t.any() or not present else 0.0)
    return np.dot(losses, used) / sum(used)


def lovasz_gradient(sorted_truth):
    """The authors' `lovasz_grad`: differences of the Jaccard loss as pixels become wrong one by one."""
    truth = sorted_truth.astype(float)
    intersection = truth.sum() - truth.cumsum()
    union = truth.sum() + (1 - truth).cumsum()
    jaccard = 1 - intersection / union
    return np.diff(jaccard, prepend=0)


def lovasz(logits, labels, weights=None):
    probabilities, truth = valid_pixels(logits, labels)
    if logits.shape[-1] == 1:
        signs = 2.0 * truth - 1
        errors = 1 - logits[labels != 255][:, 0] * signs
        order = np.argsort(-errors)
        return np.dot(np.maximum(errors[order], 0), lovasz_gradient(truth[order]))
    losses, used = [], []
    for index in np.unique(truth):
        errors = np.abs((truth == index) - probabilities[:, index])
        order = np.argsort(-errors)
        losses.append(np.dot(errors[order], lovasz_gradient((truth == index)[order])))
        used.append(1.0 if weights is None else weights[index])
    return np.dot(losses, used) / sum(used)


def ohem(logits, labels, threshold, least):
    """HRNet's `OhemCrossEntropy`: the threshold is at least the probability of the least-th pixel."""
    probabilities, truth = valid_pixels(logits, labels)
    p = probabilities[np.arange(len(truth)), truth]
    bound = max(threshold, np.sort(p)[min(int(least * len(p)), len(p) - 1)])
    return -np.log(p[p < bound]).mean()


def boundary(logits, labels, width):
    count, height, wide = labels.shape
    near = np.full(labels.shape, 255)
    for n in range(count):
        for y in range(height):
            for x in range(wide):
                window = labels[n, max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
                others = set(window.ravel().tolist()) - {255, labels[n, y, x]}
                if others and labels[n, y, x] != 255:
                    near[n, y, x] = labels[n, y, x]
    return cross_entropy(logits, near)
