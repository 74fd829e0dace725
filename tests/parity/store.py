"""python -m tests.parity.store: stores torchvision's results, for tests that run without torch."""

import numpy as np
from PIL import Image

from tests.losses import seeded_labels
from tests.parity.sides import from_torch, to_torch, torch, torch_fcn, torch_loss
from tests.parity.torch_reference import torchvision
from tests.seeded import seeded_images
from tests.stored_arrays import (
    GRADIENTS,
    IMAGES,
    NUM_CLASSES,
    PATH,
    RESIZE_SIZE,
    STATISTICS,
    VARIANTS,
    picture,
)


def compute(name: str) -> dict[str, np.ndarray]:
    """Computes the logits of a model; for the first model also some tensors of a step in training mode."""
    model, images = torch_fcn(name, NUM_CLASSES), seeded_images(*IMAGES)
    with torch.no_grad():
        arrays = {head: from_torch(logits) for head, logits in model(to_torch(images)).items()}
    if name == VARIANTS[0]:
        model.train()
        model.classifier[3].p = model.aux_classifier[3].p = 0.0
        torch_loss(model(to_torch(images)), torch.from_numpy(seeded_labels(images, NUM_CLASSES))).backward()
        arrays |= {key: dict(model.named_parameters())[key].grad.numpy() for key in GRADIENTS}
        arrays |= {key: model.state_dict()[key].numpy() for key in STATISTICS}
    return {f"{name}/{key}": array for key, array in arrays.items()}


def preset() -> np.ndarray:
    """Applies torchvision's preset to the picture; returns (H, W, 3) float32."""
    transforms = torchvision.transforms._presets.SemanticSegmentation(resize_size=RESIZE_SIZE)
    return np.moveaxis(transforms(Image.fromarray(picture())).numpy(), 0, -1)


if __name__ == "__main__":
    np.savez_compressed(
        PATH, preset=preset(), **{k: a for name in VARIANTS for k, a in compute(name).items()}
    )
