"""The two sides of a comparison, with the same weights: torchvision's model and ours."""

import jax.numpy as jnp
import numpy as np

import fcn_jax
from tests.losses import IGNORE
from tests.parity.torch_reference import torch, torchvision
from tests.seeded import seeded_state_dict


def torch_fcn(name: str, num_classes: int = 5, dtype=torch.float64) -> torch.nn.Module:
    """Builds torchvision's own model with the seeded weights, in evaluation mode."""
    build = getattr(torchvision.models.segmentation, name)
    with torch.device("meta"):
        model = build(weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=True)
    tensors = {key: torch.tensor(array) for key, array in seeded_state_dict(name, num_classes).items()}
    model.load_state_dict(tensors, strict=True, assign=True)
    return model.to(dtype).eval()


def jax_fcn(name: str, num_classes: int = 5, dtype=jnp.float64) -> fcn_jax.FCN:
    """Builds our model with the same weights, in evaluation mode."""
    return fcn_jax.get_model(name, weights=seeded_state_dict(name, num_classes), param_dtype=dtype)


def relative_error(ours, reference) -> float:
    """Returns the largest absolute difference over the largest absolute value of the reference."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def to_torch(array, dtype=torch.float64) -> torch.Tensor:
    """Converts (N, H, W, C) to torch's (N, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(array), -1, 1))).to(dtype)


def from_torch(tensor: torch.Tensor) -> np.ndarray:
    """Converts (N, C, H, W) to (N, H, W, C)."""
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


def torch_loss(logits: dict[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Computes torchvision's training loss."""
    loss = torch.nn.functional.cross_entropy
    return loss(logits["out"], labels, ignore_index=IGNORE) + 0.5 * loss(
        logits["aux"], labels, ignore_index=IGNORE
    )
