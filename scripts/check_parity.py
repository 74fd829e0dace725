"""Compares this package with torchvision, from picture to labels.

    python scripts/check_parity.py CHECKPOINT PICTURE...

Both sides read the same torchvision checkpoint and pictures, then use only their own code: preset, model,
resize to the size of the picture, argmax. For each picture the script prints the largest difference of the
logits over the largest logit, and the number of labels that differ. Expect 1e-5 or less; labels may differ
only where the two best logits are that close. Needs torch and torchvision.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch_modules import import_torchvision

import fcn_jax
from weights_converter import load_model_file


def torchvision_side(checkpoint: str):
    """Returns torchvision's network name, and a function from a picture to its logits and resized logits."""
    torchvision = import_torchvision()
    spec = load_model_file(checkpoint).spec
    model = torchvision.models.get_model(
        spec.name, weights=None, weights_backbone=None, num_classes=spec.num_classes, aux_loss=spec.aux_loss
    )
    model.load_state_dict(torch.load(checkpoint, weights_only=True), strict=True)
    model.eval()
    preset = torchvision.models.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms()

    @torch.inference_mode()
    def run(image: Image.Image):
        logits = model(preset(image)[None])["out"]
        size = (image.height, image.width)
        resized = torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return (np.moveaxis(each[0].numpy(), 0, -1) for each in (logits, resized))

    return spec.name, run


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", help="a .pth file of torchvision's fcn_resnet50 or fcn_resnet101")
    parser.add_argument("pictures", nargs="+")
    options = parser.parse_args()
    name, reference = torchvision_side(options.checkpoint)
    segmenter = fcn_jax.Segmenter(fcn_jax.get_model(name, weights=options.checkpoint))

    print(
        f"{name}, torch {torch.__version__}\n{'picture':<28} {'size':>11} {'logits':>9} {'labels differ':>22}"
    )
    for path in options.pictures:
        image = Image.open(path).convert("RGB")
        expected, expected_resized = reference(image)
        result = segmenter(image)
        error = np.abs(result.logits - expected).max() / np.abs(expected).max()
        differ = result.labels != expected_resized.argmax(-1)
        top = np.sort(expected_resized, axis=-1)
        margin = ((top[..., -1] - top[..., -2]) / np.abs(expected_resized).max())[differ]
        note = f", margin at most {margin.max():.0e}" if differ.any() else ""
        size = f"{image.width}x{image.height}"
        print(f"{Path(path).name:<28} {size:>11} {error:>9.1e} {differ.sum():>9} of {differ.size:>9}{note}")


if __name__ == "__main__":
    main()
