"""The checkpoint families and their tables, as data."""

from weights_converter.tables import mmsegmentation, paper, paper_families, torchvision

# In the order in which `recognize` asks them.
FAMILIES = (
    torchvision.RESNETS,
    mmsegmentation.FCNS,
    paper_families.FCNS,
    paper_families.VGG16_OF_TORCHVISION,
    paper_families.VGG16_OF_CAFFE,
    paper_families.CAFFENET,
)

__all__ = ["FAMILIES", "mmsegmentation", "paper", "torchvision"]
