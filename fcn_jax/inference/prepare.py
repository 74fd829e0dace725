"""From a model to what inference runs: flat arrays and a pure function of them, in one explicit step.

    arrays, function = inference_function(model, output="labels")
    labels = jax.jit(function)(arrays, images)                      # (N, H, W) uint8

Batch norm is folded, what nobody asked for is dropped, and algorithms are chosen for the platform. The model
stays as it is. Its own `model(images)` is the yardstick that all of this is tested against.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.algorithms.choice import choose_algorithms
from fcn_jax.inference.folding import Identity, fold_batch_norms
from fcn_jax.inference.rows import compute_logits, compute_scores, upsample_rows
from fcn_jax.models import FCN
from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.checks import check_images

Output = Literal["logits", "probabilities", "labels"]
BAND_VALUES = 2**24
"""How many logits a band of rows may hold, unless a single row holds more: 64 MiB. In an export, which leaves
the number of images open, those of each image."""
PIXELS = 2**16
"""Images of so many go through a CPU one at a time: several at once leave its caches. Smaller ones, all at
once: they share the reading of the weights."""


def prepare(model: nnx.Module, *, aux: bool = False, platform: str | None = None) -> nnx.Module:
    """Makes a model for inference of a model: in evaluation mode, batch norm folded, algorithms chosen.

    Args:
      model: as it is now; it is not changed, and later changes to it are not seen.
      aux: keep the auxiliary head.
      platform: "cpu", "gpu" or "tpu"; by default what JAX computes on.

    Returns:
      A module of the same class and the same function, which computes in the dtype of the model. It is not
      for training or saving.
    """
    model = nnx.merge(*nnx.split(model))  # a second object, so that nothing reaches the caller's
    model.eval()
    if isinstance(model, FCN) and not aux:
        model.aux_classifier = None
    for _, module in list(nnx.iter_modules(model)):
        for name, layer in list(vars(module).items()):
            if isinstance(layer, nnx.Dropout):  # it holds a random stream
                setattr(module, name, Identity())
    fold_batch_norms(model)
    choose_algorithms(model, platform or jax.default_backend())
    for _, layer in nnx.iter_modules(model):
        dtype = getattr(layer, "dtype", None)
        if dtype is not None and isinstance(getattr(layer, "kernel", None), nnx.Variable):
            layer.kernel.set_value(layer.kernel[...].astype(dtype))  # once, not at every call
    return model


def inference_function(
    model: nnx.Module, *, output: Output = "logits", aux: bool = False, platform: str | None = None
) -> tuple[Arrays, Callable[[Arrays, jax.Array], Any]]:
    """Takes a model apart for inference.

    Args:
      model: takes (N, H, W, 3) float32 and returns {"out": (N, H, W, C)} logits.
      output: what the function returns: "logits", a dict as the model's; "probabilities", (N, H, W, C)
        float32, softmax over the classes; or "labels", (N, H, W) uint8, the first class of the largest logit,
        for which the logits of a band of rows are held at a time, see `BAND_VALUES`.
      aux: also compute "aux" logits.
      platform: see `prepare`.

    Returns:
      arrays: by dotted name; function: pure, of (arrays, images), to be jitted by the caller. Once compiled
      for a size of images, it is for good. On a CPU large images go one at a time, see `PIXELS`, so a caller
      who has several CPU devices splits batches before, as `Segmenter` does.

    Raises:
      ValueError: an unknown output, or "aux" with another output than logits.
    """
    if output not in get_args(Output):
        raise ValueError(f"output: expected one of {', '.join(get_args(Output))}, got {output!r}")
    if aux and output != "logits":
        raise ValueError(f'aux: expected output="logits" with it, got {output!r}; leave one of them out')
    platform = platform or jax.default_backend()
    model = prepare(model, aux=aux, platform=platform)
    structure = Structure(model)
    params, rest = structure.split(model)

    def function(arrays: Arrays, images: jax.Array):
        check_images(images)
        model = structure.merge(arrays)
        batch, height, width, _ = images.shape
        if platform == "cpu" and height * width >= PIXELS and batch != 1:
            singles = jax.lax.map(lambda image: compute(model, image[None]), images)
            return jax.tree.map(lambda x: x[:, 0], singles)
        return compute(model, images)

    def compute(model: nnx.Module, images: jax.Array):
        if output == "labels":
            return labels_by_rows(model, compute_scores(model, images), images.shape[1:3])
        logits = compute_logits(model, images)
        return logits if output == "logits" else jax.nn.softmax(logits["out"])

    return params | rest, function


def labels_by_rows(model: nnx.Module, scores, size: tuple[int, int]) -> jax.Array:
    """Decides a band of rows at a time: (N, H, W) uint8."""
    height, width = size
    example = jax.eval_shape(lambda scores: upsample_rows(model, scores, size, 0, 1), scores)
    batch, _, _, classes = example.shape
    if classes > 256:
        raise ValueError(f"expected at most 256 classes, as labels are uint8, got {classes}")
    # In an export the batch is a symbol.
    count = min(height, max(1, BAND_VALUES // ((batch if isinstance(batch, int) else 1) * width * classes)))

    def decide(start):
        return _largest(upsample_rows(model, scores, size, start, count))

    if count == height:
        return decide(0)
    starts = jnp.arange(0, height - count, count)
    bands = jax.lax.map(decide, starts)  # (bands, N, count, W)
    bands = jnp.moveaxis(bands, 0, 1).reshape(batch, -1, width)
    last = decide(height - count)
    return jnp.concatenate([bands, last[:, bands.shape[1] - (height - count) :]], axis=1)


def _largest(logits: jax.Array) -> jax.Array:
    """Finds the first class of the largest logit: an argmax that needs each only once, and holds none."""
    best, labels = logits[..., 0], jnp.zeros(logits.shape[:-1], jnp.uint8)
    for index in range(1, logits.shape[-1]):
        labels = jnp.where(logits[..., index] > best, jnp.uint8(index), labels)
        best = jnp.maximum(logits[..., index], best)
    return labels
