"""The networks: trunks, heads, their composition, and the models by name."""

from fcn_jax.models.fcn import FCN
from fcn_jax.models.heads import FCNHead
from fcn_jax.models.resnet import ResNet
from fcn_jax.models.zoo import fcn_resnet50, fcn_resnet101, get_model, list_models

__all__ = ["FCN", "FCNHead", "ResNet", "fcn_resnet50", "fcn_resnet101", "get_model", "list_models"]
