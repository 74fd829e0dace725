"""Writes a model to one file that runs with JAX alone: the inference form as StableHLO, and the weights.

Needs `pip install 'fcn_jax[export]'`, because `jax.export` serializes with flatbuffers.

The program takes images of any size up to the one it was made for; what it computes for each is that of the
image alone. `load_exported` reads the file and does the padding.

The file is a zip of `function` (from `jax.export`), `weights.npz` and `facts.json` (largest size,
output, categories, transforms, platforms, digests). JAX's reader can crash on a damaged program, so
`load_exported` compares the digests first. To run it without this package, with `images` (N, H, W, 3) float32
of exactly that size, each picture in the upper left corner, and `sizes` (N, 2) int32, the height and width of
each:

    import zipfile, jax, jax.export, numpy
    with zipfile.ZipFile("model.zip") as file:
        function = jax.export.deserialize(bytearray(file.read("function")))
        with file.open("weights.npz") as weights:
            arrays = dict(numpy.load(weights))
    labels = jax.jit(function.call)(arrays, images, sizes)  # (N, H, W) uint8, any N; 0 outside each picture

A file made from a foreign model has no sizes: call(arrays, images).
"""

import functools
import hashlib
import importlib.util
import io
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fcn_jax.errors import CheckpointError, MissingPackageError, SettingError
from fcn_jax.inference.foreign import as_segmentation_model
from fcn_jax.inference.padding import Images, Padded
from fcn_jax.inference.prepare import Output, inference_function
from fcn_jax.models.arrays import Arrays
from fcn_jax.models.bilinear import MAX_SIDE
from fcn_jax.models.layers import at_least_float32
from fcn_jax.models.model import SegmentationModel
from fcn_jax.transforms import Preset
from weights_converter.files import replacing

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
FORMAT = "fcn_jax export 3"
OLDER_FORMATS = ("fcn_jax export 1", "fcn_jax export 2")
"""Those without digests, which are read if asked for; in the first, images have exactly the exported size."""


class Exported(NamedTuple):
    """A file read by `load_exported`.

    Attributes:
      function: takes normalized images and returns the output as NumPy arrays. Images are one float array
        (N, h, w, 3) or a list of N arrays (h, w, 3) of any sizes, all at most as large as "size" in `facts`;
        the output is one for an array and a list for a list. It compiles once for each N. If "any_size" in
        `facts` is false, images must have exactly the size. ArrayError says what does not fit.
      facts: "size" [H, W], "any_size", "output", "categories", "threshold" (of one logit), "transforms",
        "platforms", "jax" and "format".
    """

    function: Callable[[Images], Any]
    facts: dict


def save_exported(
    model: nnx.Module,
    path: str | os.PathLike,
    *,
    size: tuple[int, int],
    output: Output = "labels",
    platforms: Sequence[str] = (),
) -> None:
    """Writes a model for batches of any length, of images of any sizes up to one.

    Images cost as much as images of that size. A foreign model is written for images of exactly that size.

    Args:
      model: the model to export.
      path: the file to write, usually with the suffix .zip.
      size: (H, W) of the largest images.
      output: see `inference_function`.
      platforms: any of "cpu", "cuda", "rocm" and "tpu"; by default the platform that JAX uses here.

    Raises:
      SettingError: a side is below 1 or above `bilinear.MAX_SIDE`, or the output or a platform is unknown.
      MissingPackageError: flatbuffers is not installed.
      OSError: the file cannot be written.
    """
    platforms = check_platforms(platforms)
    if len(size) != 2 or min(size) < 1:
        raise SettingError(
            subject="size", expected="a height and a width of at least 1", got=str(tuple(size))
        )
    network = as_segmentation_model(model)
    if network.tileable and max(size) > MAX_SIDE:
        raise SettingError(
            subject="size",
            expected=f"sides of at most {MAX_SIDE}, so that int32 holds the coordinates",
            got=str(tuple(size)),
            hint="export a smaller size, and segment larger pictures in tiles, by `fcn-jax segment`",
        )
    exported, arrays = _export(network, size, output, platforms)
    transforms = network.transforms
    facts = {
        "format": FORMAT,
        "jax": jax.__version__,
        "platforms": list(platforms),
        "size": list(size),
        "any_size": network.tileable,
        "output": output,
        "categories": network.categories,
        "threshold": network.threshold,
        "transforms": transforms.to_dict() if isinstance(transforms, Preset) else None,
    }
    weights = io.BytesIO()
    np.savez(weights, **arrays)
    function = bytes(exported.serialize())
    facts["sha256"] = _digests(facts, function, weights.getbuffer())
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        # Not compressed, because weights hardly shrink.
        file.writestr("facts.json", json.dumps(facts, indent=2))
        file.writestr("function", function)
        file.writestr("weights.npz", weights.getbuffer())


def _export(
    model: SegmentationModel, size: tuple[int, int], output: Output, platforms: tuple[str, ...]
) -> tuple[jax.export.Exported, dict[str, Any]]:
    """Exports a function of (arrays, images, sizes), or of (arrays, images) if all must have one size.

    Returns:
      The exported function, and the arrays as NumPy arrays.
    """
    arrays, function = inference_function(
        model, output=output, platform="cpu" if platforms == ("cpu",) else "gpu"
    )
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *size, model.spec.in_channels), jnp.float32)
    dtypes = {name: array.dtype for name, array in arrays.items()}
    written = {name: np.asarray(at_least_float32(x)) for name, x in arrays.items()}  # .npz has no bfloat16
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in written.items()}
    sizes = [jax.ShapeDtypeStruct((batch, 2), jnp.int32)] if model.tileable else []

    def whole(arrays: Arrays, *images: jax.Array) -> Any:
        return function({name: array.astype(dtypes[name]) for name, array in arrays.items()}, *images)

    return jax.export.export(jax.jit(whole), platforms=platforms)(shapes, images, *sizes), written


def check_platforms(platforms: Sequence[str]) -> tuple[str, ...]:
    """Checks the platforms to export for; an empty list becomes the platform that JAX uses here.

    Raises:
      SettingError: a platform is unknown.
      MissingPackageError: flatbuffers is not installed.
    """
    _require_flatbuffers()
    platforms = tuple(platforms) or (jax.export.default_export_platform(),)
    unknown = [platform for platform in platforms if platform not in PLATFORMS]
    if unknown:
        raise SettingError(
            subject="platforms", expected=f"some of {', '.join(PLATFORMS)}", got=", ".join(unknown)
        )
    return platforms


def load_exported(path: str | os.PathLike, *, unverified: bool = False) -> Exported:
    """Reads a file written by `save_exported`.

    Args:
      path: the file.
      unverified: also read files of older formats, which hold no digests. JAX may crash if one is damaged in
        a way that the zip's checksums do not show.

    Raises:
      CheckpointError: the file is damaged or no exported model, or of an older format, or it was exported for
        another platform or by a version of JAX that this version cannot read. The message says which.
      MissingPackageError: flatbuffers is not installed.
      OSError: the file cannot be read.
    """
    _require_flatbuffers()
    facts, function, arrays = _read(path, unverified)
    facts.setdefault("any_size", False)
    here = jax.export.default_export_platform()
    if here not in facts["platforms"]:
        raise CheckpointError(
            f"exported for {', '.join(facts['platforms'])}, but JAX uses {here} here",
            path,
            hint=f"export it again with {{platforms}} {here}",
        )
    try:
        exported = jax.export.deserialize(bytearray(function))
        exported.mlir_module()  # deserializes the program inside
        (_, images, *_), _ = jax.tree.unflatten(exported.in_tree, exported.in_avals)
    except Exception as error:  # another version of JAX can fail in any way
        raise CheckpointError(
            f"exported by JAX {facts['jax']}, which JAX {jax.__version__} cannot read ({error})",
            path,
            hint="export it again",
        ) from error
    call = functools.partial(jax.jit(exported.call), jax.device_put(arrays))
    return Exported(Padded(call, images.shape[1:], facts["any_size"]), facts)


def _read(path: str | os.PathLike, unverified: bool) -> tuple[dict[str, Any], bytes, dict[str, np.ndarray]]:
    """Returns facts, program and weights, once their digests are those in the file."""
    with open(path, "rb") as opened:  # an OSError is raised as it is
        try:
            with zipfile.ZipFile(opened) as file:
                content, function, weights = map(functools.partial(_part, file), PARTS)
            facts = json.loads(content)
            if facts["format"] in (FORMAT, *OLDER_FORMATS):
                _check_types(facts)
        except Exception as error:  # the readers raise many kinds of errors
            raise _incomplete(path, error) from error
    if facts["format"] not in (FORMAT, *OLDER_FORMATS):
        raise CheckpointError(
            path=path,
            expected=f"the format {FORMAT!r}",
            got=repr(facts["format"])[:80],
            hint="export it again, by `fcn-jax export`, or update fcn_jax",
        )
    if facts["format"] in OLDER_FORMATS and not unverified:
        raise CheckpointError(
            path=path,
            expected=f"the format {FORMAT!r}",
            got=f"{facts['format']!r}, which has no digests to verify it by",
            hint="export it again, by `fcn-jax export`, or trust it: {unverified}=True",
        )
    if facts["format"] == FORMAT and facts.get("sha256") != _digests(facts, function, weights):
        raise _incomplete(path, "contents whose digests differ")
    try:
        return facts, function, dict(np.load(io.BytesIO(weights)))
    except Exception as error:
        raise _incomplete(path, error) from error


PARTS = ("facts.json", "function", "weights.npz")


def _part(file: zipfile.ZipFile, name: str) -> bytes:
    """Returns a part of the file; it is stored as it is, so it cannot be larger than the file."""
    if file.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"{name} is compressed")
    return file.read(name)


def _check_types(facts: dict[str, Any]) -> None:
    texts = [facts["jax"], *facts["platforms"]]
    if not all(isinstance(text, str) for text in texts) or not isinstance(facts.get("any_size", False), bool):
        raise CheckpointError("facts.json holds other facts")


def _incomplete(path: str | os.PathLike, got: object) -> CheckpointError:
    return CheckpointError(path=path, expected="a complete file from `fcn-jax export`", got=str(got)[:200])


def _digests(facts: dict[str, Any], function: bytes, weights: bytes | memoryview) -> dict[str, str]:
    """Returns the SHA-256 digests of the three parts; of the facts all but these."""
    rest = json.dumps({name: fact for name, fact in facts.items() if name != "sha256"}, sort_keys=True)
    contents = dict(zip(PARTS, (rest.encode(), function, weights), strict=True))
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _require_flatbuffers() -> None:
    if importlib.util.find_spec("flatbuffers") is None:
        raise MissingPackageError("exported files need flatbuffers: pip install 'fcn_jax[export]'")
