"""Checkpoint families as data."""

from weights_converter.tables import paper, torchvision

# In the order in which they are asked whose tensors these are.
FAMILIES = (
    torchvision.RESNETS,
    paper.FCNS,
    paper.VGG16_OF_TORCHVISION,
    paper.VGG16_OF_CAFFE,
    paper.CAFFENET,
)

__all__ = ["FAMILIES", "paper", "torchvision"]
