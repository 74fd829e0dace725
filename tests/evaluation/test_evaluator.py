"""Evaluation of a model over a dataset, against plain loops over its own logits."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from fcn_jax.datasets import DatasetError, Sample
from fcn_jax.datasets.dataset import check_index
from fcn_jax.evaluation import ConfusionMatrix, Evaluator, check_categories
from fcn_jax.inference import Segmenter
from fcn_jax.models.layers import BatchNorm, conv
from fcn_jax.models.upsampling import resize_bilinear
from fcn_jax.transforms import SemanticSegmentation
from tests.inference.tiny import TinyFCN

CLASSES = 4


class Tiny(nnx.Module):
    """Stride 2; dropout must be off, and batch norm must use the stored statistics."""

    def __init__(self):
        rngs = nnx.Rngs(3)
        self.conv = conv(3, CLASSES, 3, stride=2, padding=1, rngs=rngs)
        self.bn = BatchNorm(CLASSES, rngs=rngs)
        self.dropout = nnx.Dropout(0.9, rngs=rngs)
        self.transforms = SemanticSegmentation(resize_size=29)
        self.categories = None

    def __call__(self, images):
        return {"out": resize_bilinear(self.dropout(self.bn(self.conv(images))), images.shape[1:3])}


class Pictures:
    """Patches of colour of odd sizes, some pixels void."""

    categories = ("a", "b", "c", "d")
    ignore_label = 255
    sizes = ((33, 47), (40, 31), (33, 47))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        check_index(index, len(self))
        random = np.random.RandomState(index)
        height, width = self.sizes[index]
        small = Image.fromarray(random.randint(0, 256, (5, 7, 3), dtype=np.uint8))
        labels = random.randint(0, CLASSES, (height, width)).astype(np.uint8)
        labels[:3] = 255
        return Sample(np.asarray(small.resize((width, height), Image.Resampling.NEAREST)), labels)


@pytest.fixture(scope="module")
def model():
    return Tiny()


def logits_of(model, images, size):
    model = nnx.merge(*nnx.split(model))
    model.eval()
    return np.asarray(resize_bilinear(model(images)["out"], size))[0]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def plain_count(pairs):
    counts = np.zeros((CLASSES, CLASSES), np.int64)
    for labels, predictions in pairs:
        for label, prediction in zip(labels.ravel(), predictions.ravel(), strict=True):
            if label != 255:
                counts[label, prediction] += 1
    return counts


@pytest.mark.slow
def test_at_the_original_size(model):
    evaluator, pairs = Evaluator(model), []
    for image, labels in (Pictures()[index] for index in range(3)):
        images = model.transforms(Image.fromarray(image))[None]
        assert images.shape[1:3] != labels.shape
        pairs.append((labels, logits_of(model, images, labels.shape).argmax(-1)))
    found = evaluator.run(Pictures())
    np.testing.assert_array_equal(found.counts, plain_count(pairs))
    assert len(np.unique(np.nonzero(found.counts)[1])) > 1


def test_at_torchvisions_size(model):
    image, labels = Pictures()[1]
    size = (int(520 * 40 / 31), 520)
    picture = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
    expected = logits_of(model, model.transforms.normalize(np.asarray(picture))[None], size).argmax(-1)
    labels = np.asarray(Image.fromarray(labels).resize(size[::-1], Image.Resampling.NEAREST))
    evaluator = Evaluator(model, size="torchvision")
    found = evaluator.run(Pictures(), indices=[1]).counts
    counted = labels != 255
    pairs = labels[counted].astype(int) * CLASSES + expected[counted]
    np.testing.assert_array_equal(found.ravel(), np.bincount(pairs, minlength=CLASSES**2))


def test_scales_and_mirror_images_are_averaged_as_probabilities(model):
    image, labels = Pictures()[0]
    height, width = model.transforms.output_size(labels.shape)
    total = np.zeros((*labels.shape, CLASSES))
    for scale in (0.75, 1.5):
        size = round(scale * width), round(scale * height)
        picture = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        images = model.transforms.normalize(picture)[None]
        total += softmax(logits_of(model, images, labels.shape))
        total += softmax(logits_of(model, images[:, :, ::-1], labels.shape))[:, ::-1]
    evaluator = Evaluator(model, scales=(0.75, 1.5), flip=True)
    found = evaluator.labels(image)
    top = np.sort(total, -1)
    clear = top[..., -1] - top[..., -2] > 1e-5
    np.testing.assert_array_equal(found[clear], total.argmax(-1)[clear])
    assert clear.mean() > 0.99
    assert (found != Evaluator(model).labels(image)).any()


def test_new_weights_are_used_without_a_second_compilation():
    model = Tiny()
    evaluator, image = Evaluator(model), Pictures()[0].image
    before = evaluator.labels(image)
    model.bn.bias[...] = jnp.zeros(CLASSES).at[2].set(1e3)  # the last bias alone decides, once it is large
    np.testing.assert_array_equal(evaluator.labels(image), before)
    evaluator.update(model)
    assert (evaluator.labels(image) == 2).all()
    assert (before != 2).any()
    assert evaluator.compilations == 1


def test_the_callers_model_keeps_its_mode(model):
    Evaluator(model)
    assert not model.dropout.deterministic


def test_parts_of_a_dataset(model):
    evaluator, progress = Evaluator(model), []
    first = evaluator.run(
        Pictures(), indices=iter([0, 2]), on_progress=lambda *counts: progress.append(counts)
    )
    second = evaluator.run(Pictures(), indices=[1])
    np.testing.assert_array_equal((first + second).counts, evaluator.run(Pictures()).counts)
    assert progress == [(1, 2), (2, 2)]


def test_the_batch_size_changes_no_score():
    """Pictures of several sizes, some in one batch; the model is one that takes any size."""

    class Mixed(Pictures):
        sizes = ((33, 47), (36, 44), (47, 33), (8, 9), (33, 45), (90, 61), (35, 46))

    model, dataset = TinyFCN(num_classes=CLASSES), Mixed()
    one_by_one = ConfusionMatrix(CLASSES)
    for image, labels in dataset:
        one_by_one.update(labels, Segmenter(model)(image).labels)
    for batch_size in (None, 1, 3, 16):
        counts = Evaluator(model, batch_size=batch_size).run(dataset).counts
        np.testing.assert_array_equal(counts, one_by_one.counts)


def test_a_picture_that_cannot_be_read_ends_the_evaluation(model):
    class Damaged(Pictures):
        def __getitem__(self, index):
            if index == 2:
                raise DatasetError("cannot be read", "third.png")
            return super().__getitem__(index)

    progress = []
    with pytest.raises(DatasetError, match=r"third\.png"):
        Evaluator(model).run(Damaged(), on_progress=lambda *counts: progress.append(counts))
    assert progress in ([], [(1, 3)], [(1, 3), (2, 3)])  # as far as pictures were read ahead


def test_errors(model):
    with pytest.raises(
        ValueError, match='size: expected "original" or "torchvision", got "520"'.replace('"520"', "'520'")
    ):
        Evaluator(model, size="520")
    with pytest.raises(ValueError, match="scales: expected numbers above 0"):
        Evaluator(model, scales=(1, 0))

    class Others(Pictures):
        categories = ("a", "b", "c")

    with pytest.raises(DatasetError, match="expected a dataset with the model's 4 classes, got 3: a, b, c"):
        Evaluator(model).run(Others())


def test_a_class_may_have_another_name_but_not_another_place():
    check_categories(("a", "b"), 2, None)
    check_categories(("background", "b"), 2, ("__background__", "b"))
    with pytest.raises(DatasetError, match="classes in their order, b, a; got 'a' as class 0 of the dataset"):
        check_categories(("a", "b"), 2, ("b", "a"))
