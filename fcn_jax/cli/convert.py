"""fcn-jax convert: brings a checkpoint into our format (.safetensors), or back into PyTorch's (.pth).

fcn-jax convert fcn_resnet50_coco-1167a1af.pth fcn_resnet50.safetensors
fcn-jax convert trained.safetensors trained.pth
"""

import argparse
import dataclasses
from pathlib import Path

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.cli.categories import read_categories
from fcn_jax.errors import SettingError
from fcn_jax.weights.loading import read_meta
from fcn_jax.zoo import MODELS, list_models
from weights_converter import Conversion, load_model_file, save_conversion
from weights_converter.model_file import SAFETENSORS_SUFFIX, check_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command line."""
    parser.add_argument("source", metavar="SRC", help="a .pth, .pt, .caffemodel or .safetensors checkpoint")
    parser.add_argument("target", metavar="DST", help="the file to write: .safetensors, .pth or .pt")
    parser.add_argument(
        "--categories",
        metavar="FILE",
        help="text file with the name of a class on each line, for a .safetensors file; "
        "21 classes get PASCAL VOC's names by default",
    )
    parser.add_argument(
        "--model",
        choices=list_models(),
        metavar="NAME",
        help="the model, where the file does not tell: fcn8s_atonce_vgg16 for the PyTorch port's file",
    )
    parser.add_argument(
        "--preset",
        choices=("caffe", "torchvision"),
        help="the images that the weights expect, where the file misleads: caffe for vgg16_from_caffe.pth",
    )


def run(options: argparse.Namespace) -> int:
    """Converts one file and says what became of its tensors."""
    source, target = Path(options.source), Path(options.target)
    ours = check_suffix(target) == SAFETENSORS_SUFFIX
    if options.categories and not ours:
        raise SettingError(
            f"only a .safetensors file holds names of classes, not {target}", subject="--categories"
        )
    conversion = load_model_file(source, preset=options.preset).of(options.model)
    # PyTorch's files hold tensors only.
    metadata = metadata_for(conversion, options.preset, options.categories) if ours else {}
    save_conversion(conversion, target, metadata)
    print(f"{target}: {conversion.spec}, {len(conversion.params)} arrays")
    if not ours and {"categories", "transforms"} & conversion.metadata.keys():
        print("  left behind: names of classes and transforms, since PyTorch's files hold tensors only;")
        print("  --model, --preset and --categories say them again when this file is converted back")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return 0


def metadata_for(conversion: Conversion, preset: str | None, categories: str | None) -> dict[str, str]:
    """Gives the metadata of the new file: names and colours of classes, and how to prepare pictures.

    Args:
      conversion: the tensors, and what their file says of itself.
      preset: the preset that the caller names, or None.
      categories: the file with the names of the classes, or None.

    Raises:
      SettingError: names for a classifier, or see `read_categories`.
    """
    spec = conversion.spec
    if spec.is_classifier:
        if categories:
            raise SettingError(f"{spec} keeps no classes to name", subject="--categories")
        return {}
    meta = read_meta(conversion)
    if preset or meta.transforms is None:
        transforms = MODELS[spec.name].network.default_transforms(conversion.preset)
        meta = dataclasses.replace(meta, transforms=transforms)
    if categories:
        meta = dataclasses.replace(meta, categories=read_categories(categories, spec.num_classes))
    elif meta.categories is None and spec.num_classes == len(VOC_CATEGORIES):
        meta = dataclasses.replace(meta, categories=VOC_CATEGORIES)
    return meta.to_metadata()
