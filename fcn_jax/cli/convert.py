"""fcn-jax convert: converts a checkpoint to our format (.safetensors), or back to PyTorch's (.pth).

fcn-jax convert fcn_resnet50_coco-1167a1af.pth fcn_resnet50.safetensors
fcn-jax convert trained.safetensors trained.pth
"""

import argparse
import dataclasses
from pathlib import Path

from fcn_jax.categories import VOC_CATEGORIES
from fcn_jax.certificate import certify_conversion, is_good, verdict, write_certificate
from fcn_jax.cli.categories import read_categories
from fcn_jax.cli.weights import add_align_corners_argument, add_reading_arguments, chosen_align_corners
from fcn_jax.errors import SettingError
from fcn_jax.multiband import multiband_like
from fcn_jax.weights.hub import fetch_from_hub, is_hub_name
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
        help="text file with one class name a line, stored in a .safetensors file; "
        "by default 21 classes get PASCAL VOC's names",
    )
    parser.add_argument(
        "--model",
        choices=list_models(),
        metavar="NAME",
        help="the model, if the file does not say which: fcn8s_atonce_vgg16 for the PyTorch port's file, "
        "fcn_r50_d8 or fcn_r50_d6 for mmsegmentation's tensors alone",
    )
    add_align_corners_argument(parser)
    add_reading_arguments(parser)
    parser.add_argument(
        "--aux",
        choices=("require", "drop"),
        default="require",
        help="drop leaves out the auxiliary head, which only training needs and which may have other classes",
    )
    parser.add_argument(
        "--preset",
        choices=("caffe", "torchvision"),
        help="the images that the weights expect, if the names mislead: caffe for vgg16_from_caffe.pth",
    )
    parser.add_argument(
        "--certificate",
        action="store_true",
        help="write beside the new file what became of every tensor, and how closely the result was compared "
        "with PyTorch, if that is installed: DST.certificate.json and .md",
    )


def run(options: argparse.Namespace) -> int:
    """Converts a file and prints what happened to its tensors."""
    source = fetch_from_hub(options.source) if is_hub_name(options.source) else Path(options.source)
    target = Path(options.target)
    ours = check_suffix(target) == SAFETENSORS_SUFFIX
    if options.categories and not ours:
        raise SettingError(
            f"only a .safetensors file can hold names of classes, not {target}", subject="--categories"
        )
    conversion = load_model_file(
        source,
        preset=options.preset,
        key=options.key,
        strict=not options.not_strict,
        aux=options.aux,
    )
    conversion = conversion.for_model(options.model).settled(chosen_align_corners(options))
    metadata = metadata_for(conversion, options.preset, options.categories) if ours else {}
    save_conversion(conversion, target, metadata)
    print(f"{target}: {conversion.spec}, {len(conversion.params)} arrays")
    remark = conversion.remark()
    if remark is not None:
        print(f"  {remark}")
    if not ours and {"categories", "transforms"} & conversion.metadata.keys():
        print("  dropped names of classes and transforms: PyTorch's files hold only tensors;")
        print("  to convert this file back, give them with --model, --preset and --categories")
    for name, why in conversion.dropped.items():
        print(f"  dropped {name}: {why}")
    return _certify(conversion, target) if options.certificate else 0


def _certify(conversion: Conversion, target: Path) -> int:
    """Writes the certificate and prints its first line; returns 1 if the two files are not the same."""
    record = certify_conversion(conversion, target)
    data, page = write_certificate(record, target)
    print(f"{page}, {data.name}: {verdict(record)}")
    return 0 if is_good(record) else 1


def metadata_for(conversion: Conversion, preset: str | None, categories: str | None) -> dict[str, str]:
    """Returns the new file's metadata: names and colours of classes, and the transforms preset.

    Args:
      conversion: the tensors and the metadata of their file.
      preset: the option --preset, or None.
      categories: the file with the names of the classes, or None.

    Raises:
      SettingError: names are given for a classifier, or see `read_categories`.
    """
    spec = conversion.spec
    if spec.is_classifier:
        if categories:
            raise SettingError(f"{spec} has no classes here to name", subject="--categories")
        return {}
    meta = read_meta(conversion)
    if preset or meta.transforms is None:
        transforms = MODELS[spec.name].network.default_transforms(conversion.preset)
        if spec.in_channels != 3:
            transforms = multiband_like(transforms, spec.in_channels)
        meta = dataclasses.replace(meta, transforms=transforms)
    if categories:
        meta = dataclasses.replace(meta, categories=read_categories(categories, spec.num_classes))
    elif meta.categories is None and spec.num_classes == len(VOC_CATEGORIES):
        meta = dataclasses.replace(meta, categories=VOC_CATEGORIES)
    return meta.to_metadata()
