"""The classes of public datasets, and their colours."""

from fcn_jax.categories.ade20k import ADE20K_CATEGORIES, ADE20K_PALETTE
from fcn_jax.categories.cityscapes import CITYSCAPES_CATEGORIES, CITYSCAPES_PALETTE
from fcn_jax.categories.pascal_context import PASCAL_CONTEXT_CATEGORIES
from fcn_jax.categories.voc import BINARY_CATEGORIES, VOC_CATEGORIES, voc_palette

__all__ = [
    "ADE20K_CATEGORIES",
    "ADE20K_PALETTE",
    "BINARY_CATEGORIES",
    "CITYSCAPES_CATEGORIES",
    "CITYSCAPES_PALETTE",
    "PASCAL_CONTEXT_CATEGORIES",
    "VOC_CATEGORIES",
    "voc_palette",
]
