"""From a model to what inference runs: flat arrays and a pure function of them, in one explicit step.

    arrays, function = inference_function(model, output="labels")
    labels = jax.jit(function)(arrays, images)                      # (N, H, W) uint8

Batch norm is folded, what nobody asked for is dropped, and algorithms are chosen for the platform. The model
itself is not changed. Its own `model(images)` is the yardstick that all of this is tested against.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
from flax import nnx

from fcn_jax.algorithms.choice import choose_for_inference
from fcn_jax.errors import SettingError
from fcn_jax.inference.folding import drop_what_only_training_needs, fold_batch_norms
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.labels import compute_labels
from fcn_jax.models.arrays import Arrays, Structure
from fcn_jax.models.checks import check_images, image_size
from fcn_jax.models.deconvolution import Deconvolution
from fcn_jax.models.model import SegmentationModel

Output = Literal["logits", "probabilities", "labels"]
PIXELS = 2**16
"""Images of that many pixels or more go through a CPU one at a time, since several at once exceed its caches.
Smaller ones go all at once, since they share the reading of the weights."""


def prepare(model: nnx.Module, *, aux: bool = False, platform: str | None = None) -> SegmentationModel:
    """Makes an inference form of a model: in evaluation mode, batch norm folded, algorithms chosen.

    Args:
      model: as it is now; it is not changed, and later changes to it are not seen.
      aux: keep the auxiliary head.
      platform: "cpu", "gpu" or "tpu"; by default what JAX computes on.

    Returns:
      A module of the same class and the same function, which computes in the dtype of the model; around a
      model of another make, a `ForeignModel`. It is not for training or saving.

    Raises:
      WrongTypeError: it is no nnx.Module.
      ArrayError: it does not return logits as it should.
    """
    # A second object, so that nothing reaches the caller's.
    prepared = nnx.merge(*nnx.split(as_segmentation_model(model)))
    prepared.eval()
    if not aux:
        prepared.drop_aux()
    drop_what_only_training_needs(prepared)
    fold_batch_norms(prepared)
    choose_for_inference(prepared, platform or jax.default_backend())
    for _, layer in nnx.iter_modules(prepared):
        if isinstance(layer, nnx.Conv | nnx.Linear | Deconvolution) and layer.dtype is not None:
            layer.kernel.set_value(layer.kernel[...].astype(layer.dtype))  # once, not at every call
    return prepared


def inference_function(
    model: nnx.Module, *, output: Output = "logits", aux: bool = False, platform: str | None = None
) -> tuple[Arrays, Callable[[Arrays, jax.Array], Any]]:
    """Takes a model apart for inference.

    Args:
      model: takes (N, H, W, C_in) float32 and returns {"out": (N, H, W, C)} logits.
      output: what the function returns: "logits", a dict as the model's; "probabilities", (N, H, W, C)
        float32, softmax over the classes; or "labels", (N, H, W) uint8, the first class of the largest logit,
        computed a band of rows at a time, see `labels.BAND_VALUES`.
      aux: also compute "aux" logits, if the model has them.
      platform: see `prepare`.

    Returns:
      arrays: by dotted name; function: pure, of (arrays, images), to be jitted by the caller. It is compiled
      once for each size of images. On a CPU large images go one at a time, see `PIXELS`, so a caller who has
      several CPU devices splits batches before, as `Segmenter` does.

    Raises:
      SettingError: an unknown output, or "aux" with another output than logits.
      WrongTypeError, ArrayError: see `prepare`.
    """
    if output not in get_args(Output):
        raise SettingError(
            subject="output", expected=f"one of {', '.join(get_args(Output))}", got=repr(output)
        )
    if aux and output != "logits":
        raise SettingError(
            subject="aux", expected='output="logits" with it', got=repr(output), hint="leave one of them out"
        )
    platform = platform or jax.default_backend()
    prepared = prepare(model, aux=aux, platform=platform)
    structure = Structure(prepared)
    params, rest = structure.split(prepared)
    in_channels = prepared.spec.in_channels
    del model, prepared  # what follows needs the arrays alone

    def function(arrays: Arrays, images: jax.Array):
        check_images(images, in_channels)
        model = structure.merge(arrays)
        batch, height, width, _ = images.shape
        if platform == "cpu" and height * width >= PIXELS and batch != 1:
            singles = jax.lax.map(lambda image: compute(model, image[None]), images)
            return jax.tree.map(lambda x: x[:, 0], singles)
        return compute(model, images)

    def compute(model: SegmentationModel, images: jax.Array):
        if output == "labels":
            return compute_labels(model.upsampler(), model.coarse_logits(images)["out"], image_size(images))
        logits = compute_logits(model, images, aux=aux)
        return logits if output == "logits" else jax.nn.softmax(logits["out"])

    return params | rest, function


def compute_logits(model: SegmentationModel, images: jax.Array, *, aux: bool) -> dict[str, jax.Array]:
    """Computes what `model(images)` does, up to rounding, in the way that is fastest for inference."""
    upsampler, logits = model.upsampler(), {}
    for head, coarse in model.coarse_logits(images).items():
        if head == "out" or (head == "aux" and aux):
            size = upsampler.size(coarse, image_size(images))
            logits[head] = upsampler.rows(coarse, size, 0, size[0])
    return logits
