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
        categories = read_categories(options.categories, model.spec.num_labels)
    bands = None if options.bands is None else parse_bands(options.bands)
    segmenter = Segmenter(
        model,
        transforms,
        categories,
        tile=int(options.tile) if options.tile.isdecimal() else options.tile,
        halo=options.halo,
        scales=TTA_SCALES if options.tta else (1.0,),
        flip=options.tta,
        bands=bands,
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
        "threshold": segmenter.threshold,
        "tile": options.tile,
        "approximate_halo": options.halo,
        "test_time_augmentation": options.tta,
    }
    return segmenter, facts | ({} if bands is None else {"bands": list(bands)})


def parse_bands(text: str) -> tuple[int, ...]:
    """Reads text such as "3,2,1".

    Raises:
      SettingError: these are no numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SettingError(
            subject="--bands", expected="numbers of bands from 1, such as 3,2,1", got=repr(text)
        )
    return tuple(map(int, parts))


def class_indices(names: str, categories: Sequence[str]) -> list[int]:
    """Returns the class indices for text such as "dog,15"; a name may contain commas itself.

    Raises:
      SettingError: there is no such class; the message lists all classes.
    """
    try:
        return [
            class_index(int(name) if name.isdecimal() and name not in categories else name, categories)
            for name in split_names(names, categories)
        ]
    except SettingError as error:
        raise SettingError(str(error), subject="--classes") from None


def split_names(text: str, known: Sequence[str] = ()) -> list[str]:
    """Splits text such as "dog, 15"; empty parts are left out.

    Args:
      text: names with commas between them.
      known: names that may contain commas; the longest that fits counts.
    """
    plain = {",".join(map(str.strip, name.split(","))): name for name in known}
    parts, names = list(map(str.strip, text.split(","))), []
    while parts:
        fitting = (count for count in range(len(parts), 1, -1) if ",".join(parts[:count]) in plain)
        count = next(fitting, 1)
        whole = ",".join(parts[:count])
        names.append(plain.get(whole, whole))
        del parts[:count]
    return [name for name in names if name]


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
