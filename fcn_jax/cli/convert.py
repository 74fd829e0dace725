"""fcn-jax convert: brings a checkpoint into our format (.safetensors), or back into PyTorch's (.pth).

fcn-jax convert fcn_resnet50_coco-1167a1af.pth fcn_resnet50.safetensors
fcn-jax convert trained.safetensors trained.pth
"""

import argparse
import json
import os
from pathlib import Path

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.transforms import SemanticSegmentation
from weights_converter import CheckpointError, Conversion, convert_file, load_model_file
from weights_converter.engine import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("source", metavar="SRC", help="a .pth, .pt or .safetensors checkpoint")
    parser.add_argument("target", metavar="DST", help="the file to write: .safetensors, .pth or .pt")
    parser.add_argument(
        "--categories",
        metavar="FILE",
        help="text file with the name of a class on each line, for a .safetensors file; "
        "21 classes are PASCAL VOC's if not given",
    )


def run(options: argparse.Namespace) -> int:
    """Converts one file and says what became of its tensors."""
    source, target = Path(options.source), Path(options.target)
    if target.exists() and source.exists() and source.samefile(target):
        raise CheckpointError("source and target are the same file; give the target another name", source)
    metadata = _metadata(load_model_file(source), options.categories)
    conversion = convert_file(source, target, metadata)
    print(f"{target}: {describe(conversion.architecture)}, {len(conversion.params)} arrays")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return 0


def _metadata(found: Conversion, categories_file: str | None) -> dict[str, str]:
    """Says what the tensors cannot: names of classes, and the preset of torchvision's FCNs."""
    num_classes = found.architecture.num_classes
    if num_classes is None:
        return {}
    metadata = {}
    if "transforms" not in found.metadata:
        metadata["transforms"] = json.dumps(SemanticSegmentation().to_dict())
    if categories_file:
        metadata["categories"] = json.dumps(read_categories(categories_file, num_classes))
    elif "categories" not in found.metadata and num_classes == len(VOC_CATEGORIES):
        metadata["categories"] = json.dumps(VOC_CATEGORIES)
    return metadata


def read_categories(path: str | os.PathLike, num_classes: int) -> list[str]:
    """Reads the names of classes, one on each line.

    Raises:
      CheckpointError: there are not as many as the weights have classes.
    """
    names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(names) != num_classes:
        raise CheckpointError(f"expected {num_classes} names, a class on each line, got {len(names)}", path)
    return names
