"""Exported files in ONNX Runtime against PyTorch's own modules with the same weights.

The figures in the comments are the largest seen, with onnxruntime 1.32.0 and torch 2.13.0.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import fcn_jax
from tests.onnx_export.runtime import SIZES, run, session
from tests.parity.mmseg_sides import VARIANTS as MMSEG
from tests.parity.mmseg_sides import torch_segmentor
from tests.parity.paper_sides import NAMES, jax_paper, torch_paper
from tests.parity.sides import from_torch, jax_fcn, relative_error, to_torch, torch, torch_fcn

BOUND = 1e-5  # seen: 1.1e-6 for mmsegmentation's networks
EVERY_LAYER = ("r50-d8, 769", "r50b-d6", "r18-d8")
"""mmsegmentation's variants that hold together every kind of layer, stem, block and resize."""


def compare(path, reference, outputs):
    """Compares a file with a PyTorch module: {output of the file: key of the module's, or None}."""
    opened, random = session(path), np.random.RandomState(0)
    for size in SIZES:
        images = random.standard_normal((2, *size, 3)).astype(np.float32)
        for batch in (1, 2):
            with torch.no_grad():
                expected = reference(to_torch(images[:batch], torch.float32))
            found = run(opened, images[:batch])
            for name, key in outputs.items():
                wanted = from_torch(expected if key is None else expected[key])
                assert relative_error(found[name], wanted) < BOUND, (size, batch, name)


@pytest.mark.slow
def test_torchvisions_network(tmp_path):
    reference = torch_fcn("fcn_resnet50", dtype=torch.float32)
    fcn_jax.export_onnx(
        jax_fcn("fcn_resnet50", dtype=jnp.float32), tmp_path / "m.onnx", output="logits", aux=True
    )
    compare(tmp_path / "m.onnx", reference, {"logits": "out", "aux_logits": "aux"})
    (tmp_path / "m.onnx").unlink()


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_networks(name, tmp_path):
    reference = torch_paper(name, torch.float32)
    fcn_jax.export_onnx(jax_paper(name, jnp.float32), tmp_path / "m.onnx", output="logits")
    compare(tmp_path / "m.onnx", reference, {"logits": None})


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=() if name in EVERY_LAYER else pytest.mark.slow) for name in MMSEG],
)
def test_mmsegmentations_networks(variant, tmp_path):
    described = MMSEG[variant]
    reference = torch_segmentor(described, torch.float32)
    arrays = {key: tensor.numpy() for key, tensor in reference.state_dict().items()}
    model = fcn_jax.get_model(described.name, weights=arrays, align_corners=described.align_corners)
    fcn_jax.export_onnx(model, tmp_path / "m.onnx", output="logits", aux=True)
    compare(tmp_path / "m.onnx", reference, {"logits": "out", "aux_logits": "aux"})
