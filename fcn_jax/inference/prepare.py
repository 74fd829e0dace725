"""Turns a model into its inference form: flat arrays, and a pure function of them.

    arrays, function = inference_function(model, output="labels")
    labels = jax.jit(function)(arrays, images)                      # (N, H, W) uint8
    labels = jax.jit(function)(arrays, buffer, sizes)               # images of several sizes, (N, 2) int32

Batch norms are folded, unused heads are dropped, and algorithms are chosen for the platform. The model itself
does not change. Tests compare the inference form with `model(images)`.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from fcn_jax.algorithms.choice import choose_for_inference
from fcn_jax.errors import ArrayError, SettingError
from fcn_jax.inference.folding import drop_dropouts_and_initializers, fold_batch_norms
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.labels import compute_labels
from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.bilinear import MAX_SIDE
from fcn_jax.models.checks import check_images, image_size
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.extent import Extent
from fcn_jax.models.model import SegmentationModel

Output = Literal["logits", "probabilities", "labels"]
LARGE_IMAGE_PIXELS = 2**16
"""From this size on, a CPU computes a batch image by image, because a whole batch exceeds the CPU's caches.
Smaller images are computed as one batch, because they share one pass over the weights."""


def prepare(model: nnx.Module, *, aux: bool = False, platform: str | None = None) -> SegmentationModel:
    """Makes the inference form of a model: in evaluation mode, batch norms folded, algorithms chosen.

    Args:
      model: copied; it does not change.
      aux: keep the auxiliary head.
      platform: "cpu", "gpu" or "tpu"; by default the platform that JAX uses.

    Returns:
      A module of the same class, function and compute dtype; for a foreign model, a `ForeignModel`. Do not
      train or save it.

    Raises:
      WrongTypeError: `model` is not an nnx.Module.
      ArrayError: `model` does not return {"out": logits (N, H, W, C)}.
    """
    # A copy with variables of its own, so that the caller's model does not change; the arrays are shared.
    prepared = nnx.clone(as_segmentation_model(model))
    prepared.eval()
    if not aux:
        prepared.drop_aux()
    drop_dropouts_and_initializers(prepared)
    fold_batch_norms(prepared)
    choose_for_inference(prepared, platform or jax.default_backend())
    for _, layer in nnx.iter_modules(prepared):
        if isinstance(layer, nnx.Conv | nnx.Linear | Deconvolution) and layer.dtype is not None:
            layer.kernel.set_value(layer.kernel[...].astype(layer.dtype))  # once, not at every call
    return prepared


def inference_function(
    model: nnx.Module, *, output: Output = "logits", aux: bool = False, platform: str | None = None
) -> tuple[Arrays, Callable[..., Any]]:
    """Splits the inference form of a model into arrays and a function.

    Args:
      model: takes (N, H, W, C_in) float32 and returns {"out": (N, H, W, C)} logits.
      output: what the function returns: "logits", a dict like the model's; "probabilities", the softmax over
        classes, (N, H, W, C) float32; or "labels", the first class with the largest logit, (N, H, W) uint8,
        computed in bands of rows, see `labels.BAND_VALUES`. A model with one logit has the foreground's
        probability, (N, H, W, 1), and the label 1 from the model's threshold on.
      aux: also compute "aux" logits, if the model has them.
      platform: see `prepare`.

    Returns:
      arrays: by dotted name; function: pure, of (arrays, images, sizes=None), for the caller to jit. It
      compiles once for each shape of images. A CPU computes large images one at a time
      (`LARGE_IMAGE_PIXELS`), so a caller with several CPU devices must split batches first, as `Segmenter`
      does.
      With sizes, (N, 2) int32, each image fills only the upper left part (h, w) of its buffer (H, W), which
      may hold anything in the rest. The upper left part of the output is that of the image alone; the rest is
      0. So one program serves all sizes. The function raises ArrayError for unfit images or sizes, and
      SettingError if a foreign model gets sizes.

    Raises:
      SettingError: the output is unknown, or `aux` is set with another output than "logits".
      WrongTypeError, ArrayError: see `prepare`.
    """
    if output not in get_args(Output):
        raise SettingError(
            subject="output", expected=f"one of {', '.join(get_args(Output))}", got=repr(output)
        )
    if aux and output != "logits":
        raise SettingError(
            subject="aux", expected='output="logits"', got=repr(output), hint="leave one of them out"
        )
    platform = platform or jax.default_backend()
    prepared = prepare(model, aux=aux, platform=platform)
    structure = Structure(prepared)
    params, rest = structure.split(prepared)
    in_channels, threshold = prepared.spec.in_channels, prepared.threshold or 0.5
    probabilities = jax.nn.softmax if prepared.threshold is None else jax.nn.sigmoid
    del model, prepared  # the function below needs only the arrays

    def function(arrays: Arrays, images: jax.Array, sizes: jax.Array | None = None) -> Any:
        check_images(images, in_channels)
        if sizes is not None:
            sizes = check_sizes(sizes, images)
        model = structure.merge(arrays)
        batch, height, width, _ = images.shape
        if platform == "cpu" and height * width >= LARGE_IMAGE_PIXELS and batch != 1:
            singles = jax.lax.map(
                lambda each: compute(model, *jax.tree.map(lambda x: x[None], each)), (images, sizes)
            )
            return jax.tree.map(lambda x: x[:, 0], singles)
        return compute(model, images, sizes)

    def compute(model: SegmentationModel, images: jax.Array, sizes: jax.Array | None) -> Any:
        if output == "labels":
            coarse = model.coarse_logits(images, sizes)["out"]
            labels = compute_labels(model.upsampler(), coarse, image_size(images), sizes, threshold)
            return labels if sizes is None else Extent(sizes).keep(labels[..., None])[..., 0]
        logits = compute_logits(model, images, sizes, aux=aux)
        return logits if output == "logits" else Extent(sizes).keep(probabilities(logits["out"]))

    return params | rest, function


def compute_logits(
    model: SegmentationModel, images: jax.Array, sizes: jax.Array | None = None, *, aux: bool
) -> dict[str, jax.Array]:
    """Computes `model(images)`, up to rounding, with the upsampler for inference; 0 outside of `sizes`."""
    upsampler, logits = model.upsampler(), {}
    for head, coarse in model.coarse_logits(images, sizes).items():
        if head == "out" or (head == "aux" and aux):
            size = upsampler.size(coarse, image_size(images))
            logits[head] = Extent(sizes).keep(upsampler.rows(coarse, size, 0, size[0], sizes))
    return logits


def check_sizes(sizes: jax.Array, images: jax.Array) -> jax.Array:
    """Checks the sizes of images in a buffer, and returns them as int32. Their values are not looked at.

    Raises:
      ArrayError: they are not (N, 2) integers, or the buffer is too large.
    """
    sizes = jnp.asarray(sizes)
    if sizes.shape != (images.shape[0], 2) or not jnp.issubdtype(sizes.dtype, jnp.integer):
        raise ArrayError(
            subject="sizes",
            expected=f"({images.shape[0]}, 2) integers, the height and width of each image",
            got=f"{sizes.dtype} {sizes.shape}",
        )
    if max(image_size(images)) > MAX_SIDE:
        raise ArrayError(
            subject="images",
            expected=f"a buffer with sides of at most {MAX_SIDE}, so that int32 holds the coordinates",
            got=str(image_size(images)),
            hint="leave out the sizes, or let Segmenter compute tiles",
        )
    return sizes.astype(jnp.int32)
