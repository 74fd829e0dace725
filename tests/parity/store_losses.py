"""python -m tests.parity.store_losses: stores what segmentation_models_pytorch computes.

Needs `pip install segmentation-models-pytorch==0.5.0`, which nothing else here does. Void pixels are left out
before it sees them, as not all of its losses know an ignored label.
"""

import numpy as np
import segmentation_models_pytorch as smp
import torch

from tests.smp_losses import CASES, PATH, drawn

LOSSES = {
    "dice": lambda mode: smp.losses.DiceLoss(mode),
    "jaccard": lambda mode: smp.losses.JaccardLoss(mode),
    "tversky": lambda mode: smp.losses.TverskyLoss(mode, alpha=0.3, beta=0.7),
    "focal": lambda mode: smp.losses.FocalLoss(mode, gamma=2.0),
    "lovasz": lambda mode: smp.losses.LovaszLoss(mode),
}


def compute(case: str) -> dict[str, np.ndarray]:
    """Computes value and gradient of one loss, in float64, of the valid pixels as one row."""
    kind, _, mode = case.partition("/")
    logits, labels = drawn(CASES[case])
    valid = labels != 255
    row = torch.tensor(logits[valid].T[None, :, None], requires_grad=True)  # (1, C, 1, P)
    truth = torch.from_numpy(labels[valid])[None, None]  # (1, 1, P)
    value = LOSSES[kind](mode)(row, truth[:, None] if mode == "binary" else truth)
    value.backward()
    gradient = np.zeros_like(logits)
    gradient[valid] = row.grad[0, :, 0].T.numpy()
    return {f"{case}/value": value.detach().numpy(), f"{case}/gradient": gradient}


if __name__ == "__main__":
    torch.Tensor.float = torch.Tensor.double  # Lovasz's hinge makes labels float32, and then fails in float64
    np.savez_compressed(PATH, **{k: a for case in CASES for k, a in compute(case).items()})
