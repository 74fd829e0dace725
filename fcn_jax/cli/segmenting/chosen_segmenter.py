"""Builds the segmenter that the options of `fcn-jax segment` ask for, and says what its settings are."""

import argparse
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from PIL import Image

from fcn_jax.cli.categories import read_categories
from fcn_jax.cli.weights import find_weights, load_chosen
from fcn_jax.errors import SettingError
from fcn_jax.inference import Segmenter
from fcn_jax.inference.outputs import class_index
from fcn_jax.inference.views import OnProgress
from fcn_jax.transforms import SemanticSegmentation

TTA_SCALES = (0.75, 1.0, 1.25)
MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow refuses more, and warns above half of it


def build_segmenter(options: argparse.Namespace, on_tile: OnProgress) -> tuple[Segmenter, dict[str, Any]]:
    """Builds the segmenter for the options; also returns facts for the summary."""
    with ThreadPoolExecutor(1) as pool:  # the digest of a large file takes half a second
        file = find_weights(options.weights, options.model, options.offline)
        digest = pool.submit(_digest, file) if file.is_file() else None
        found = argparse.Namespace(**vars(options) | {"weights": str(file)})
        model, path = load_chosen(found)
    transforms = model.transforms or SemanticSegmentation()
    if options.resize is not None:
        transforms = transforms.with_resize(options.resize or None)
    categories = None
    if options.categories:
        categories = read_categories(options.categories, model.spec.num_classes)
    segmenter = Segmenter(
        model,
        transforms,
        categories,
        tile=int(options.tile) if options.tile.isdecimal() else options.tile,
        halo=options.halo,
        scales=TTA_SCALES if options.tta else (1.0,),
        flip=options.tta,
        on_progress=on_tile,
    )
    facts = {
        "model": model.spec.name,
        "weights": str(path),
        "weights_sha256": digest and digest.result(),
        **({"key": options.key} if options.key else {}),
        **({"not_strict": True} if options.not_strict else {}),
        "dtype": options.dtype,
        "transforms": transforms.to_dict(),
        "categories": list(segmenter.categories),
        "tile": options.tile,
        "approximate_halo": options.halo,
        "test_time_augmentation": options.tta,
    }
    return segmenter, facts


def class_indices(names: str, categories: Sequence[str]) -> list[int]:
    """Returns the class indices for text such as "dog,15".

    Raises:
      SettingError: there is no such class; the message lists all classes.
    """
    try:
        return [
            class_index(int(name) if name.isdecimal() and name not in categories else name, categories)
            for name in split_names(names)
        ]
    except SettingError as error:
        raise SettingError(str(error), subject="--classes") from None


def split_names(text: str) -> list[str]:
    """Splits text such as "dog, 15"; empty parts are left out."""
    return [name for name in map(str.strip, text.split(",")) if name]


@contextlib.contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Inside the block, lets Pillow open pictures of up to `most` pixels; None keeps its own limit.

    Raises:
      SettingError: `most` is below 1.
    """
    if most is not None and most < 1:
        raise SettingError(subject="--max-pixels", expected="at least 1", got=str(most))
    before = Image.MAX_IMAGE_PIXELS
    if most is not None:
        Image.MAX_IMAGE_PIXELS = cast(int, most / 2)  # Pillow compares with twice this value; a float works
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
