"""The door: writes a model as one ONNX file, checks it, and on request compares it with the model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from flax import nnx

from fcn_jax.errors import SettingError
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.labels import check_num_classes
from fcn_jax.inference.prepare import Output
from fcn_jax.models.model import SegmentationModel
from fcn_jax.onnx_export.errors import require

if TYPE_CHECKING:
    from fcn_jax.onnx_export.ends import Input
    from fcn_jax.onnx_export.verification import Verification


def export_onnx(
    model: nnx.Module,
    path: str | os.PathLike,
    *,
    input: "Input" = "normalized",
    output: Output = "labels",
    aux: bool = False,
    verify: bool = False,
) -> "Verification | None":
    """Writes a model for images of any size and batches of any length, as ONNX opset 17.

    The file's input is "images", (N, H, W, C). Its output is called after its kind: "logits" (N, H, W,
    num_classes) float32, "probabilities", their softmax, or "labels" (N, H, W) uint8, the first class with
    the largest logit. One logit has its sigmoid, and the label 1 from the model's threshold on. Weights are
    float32, also of a model that computes in another dtype. `onnx.checker` checks the file before it gets its
    name. Its metadata hold "spec", "transforms", "categories", "palette", "threshold" (of one logit), "input"
    and "output", as JSON or words.

    Args:
      model: a model of fcn_jax; it does not change.
      path: the file to write. Weights above 2 GB go to a second file, <path>.data.
      input: "normalized", float32 images as the model takes them; or "uint8", RGB pictures from 0 to 255 at
        the size that the model should see: then the graph holds the preset, but for its resizing.
      output: see above.
      aux: also return the auxiliary head's, as "aux_logits" and so on.
      verify: run the file in ONNX Runtime and compare its logits with the model's; see `Verification`.

    Returns:
      What was measured if `verify` is set.

    Raises:
      OnnxError: a layer cannot be written (the message names it), or the file differs from the model; then
        no file is written.
      SettingError: an argument is unknown, or the model has no auxiliary head or no fit preset.
      ArrayError: output="labels" for more than 256 classes.
      WrongTypeError: `model` is not an nnx.Module.
      MissingPackageError: onnx, or for `verify` onnxruntime, is not installed.
      OSError: the file cannot be written.
    """
    require("onnx", *(["onnxruntime"] if verify else []))
    network = check_settings(model, input=input, output=output, aux=aux)
    import onnx

    from fcn_jax.onnx_export.building import build, float32_copy
    from fcn_jax.onnx_export.saving import save

    network = float32_copy(network, aux=aux)
    built = build(network, input=input, output=output, aux=aux)
    measured: list[Verification] = []

    def check(written: Path) -> None:
        onnx.checker.check_model(os.fspath(written), full_check=True)
        if verify:
            from fcn_jax.onnx_export.verification import compare

            measured.append(compare(written, built.logits, network, input=input, output=output))

    save(built.proto, path, check)
    return measured[0] if measured else None


def check_settings(model: nnx.Module, *, input: "Input", output: Output, aux: bool) -> SegmentationModel:
    """Checks the arguments of `export_onnx`; returns the model.

    Raises:
      OnnxError, SettingError, ArrayError, WrongTypeError: see `export_onnx`.
    """
    from fcn_jax.onnx_export.ends import Input, check_input
    from fcn_jax.onnx_export.networks import check_network

    for subject, value, known in (("input", input, get_args(Input)), ("output", output, get_args(Output))):
        if value not in known:
            raise SettingError(subject=subject, expected=f"one of {', '.join(known)}", got=repr(value))
    network = check_network(model if isinstance(model, nnx.Module) else as_segmentation_model(model))
    check_input(network, input)
    if output == "labels":
        check_num_classes(network.spec.num_classes)
    if aux and not network.spec.aux_loss:
        raise SettingError(subject="aux", expected="a model with an auxiliary head", got=str(network.spec))
    return network
