"""fcn-jax convert: brings a checkpoint into our format (.safetensors), or back into PyTorch's (.pth).

fcn-jax convert fcn_resnet50_coco-1167a1af.pth fcn_resnet50.safetensors
fcn-jax convert trained.safetensors trained.pth
"""

import argparse
import json
import os
from pathlib import Path

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.checkpoints import default_transforms
from fcn_jax.zoo import list_models
from weights_converter import Conversion, convert_file, load_model_file
from weights_converter.engine import describe
from weights_converter.model_file import SAFETENSORS_SUFFIX


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("source", metavar="SRC", help="a .pth, .pt, .caffemodel or .safetensors checkpoint")
    parser.add_argument("target", metavar="DST", help="the file to write: .safetensors, .pth or .pt")
    parser.add_argument(
        "--categories",
        metavar="FILE",
        help="text file with the name of a class on each line, for a .safetensors file; "
        "21 classes are PASCAL VOC's if not given",
    )
    parser.add_argument(
        "--model",
        choices=list_models(),
        metavar="NAME",
        help="the model, where the file does not tell: fcn8s_atonce_vgg16 for the PyTorch port's",
    )
    parser.add_argument(
        "--preset",
        choices=("caffe", "torchvision"),
        help="the pictures that the weights expect, where the file misleads: caffe for vgg16_from_caffe.pth",
    )


def run(options: argparse.Namespace) -> int:
    """Converts one file and says what became of its tensors."""
    source, target = Path(options.source), Path(options.target)
    metadata = {}
    if target.suffix == SAFETENSORS_SUFFIX:  # PyTorch's files hold tensors only
        found = load_model_file(source, model_name=options.model, preset=options.preset)
        metadata = _metadata(found, options.categories, options.preset)
    elif options.categories:
        raise ValueError(f"--categories: only a .safetensors file holds names of classes, not {target}")
    conversion = convert_file(source, target, metadata, model_name=options.model, preset=options.preset)
    print(f"{target}: {describe(conversion.architecture)}, {len(conversion.params)} arrays")
    if target.suffix != SAFETENSORS_SUFFIX and {"categories", "transforms"} & conversion.metadata.keys():
        print("  left behind: names of classes and transforms, since PyTorch's files hold tensors only;")
        print("  --model, --preset and --categories say them again when this file is converted back")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return 0


def _metadata(found: Conversion, categories_file: str | None, preset: str | None = None) -> dict[str, str]:
    """Says what the tensors cannot: names of classes, and what pictures go through."""
    num_classes = found.architecture.num_classes
    if num_classes is None:
        if categories_file:
            raise ValueError(f"--categories: {describe(found.architecture)} keeps no classes to name")
        return {}
    metadata = {}
    if preset or "transforms" not in found.metadata:
        transforms = default_transforms(found.architecture.model_name, found.preset)
        metadata["transforms"] = json.dumps(transforms.to_dict())
    if categories_file:
        metadata["categories"] = json.dumps(read_categories(categories_file, num_classes))
    elif "categories" not in found.metadata and num_classes == len(VOC_CATEGORIES):
        metadata["categories"] = json.dumps(VOC_CATEGORIES)
    return metadata


def read_categories(path: str | os.PathLike, num_classes: int) -> list[str]:
    """Reads the names of classes, one on each line; empty lines do not count.

    Raises:
      ValueError: it is no text, or has not as many names as the weights have classes.
      OSError: it cannot be read.
    """
    expected = f"expected {num_classes} names, a class on each line"
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {expected}, got a file that is no UTF-8 text") from error
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != num_classes:
        hint = "; the background counts too, as the first" if len(names) == num_classes - 1 else ""
        raise ValueError(f"{path}: {expected}, got {len(names)}{hint}")
    return names
