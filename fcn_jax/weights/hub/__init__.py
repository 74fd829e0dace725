"""Weights on the Hugging Face Hub: names such as hf://user/repo@v1/model.safetensors, and their download.

Needs `pip install 'fcn_jax[hub]'`, which is imported at the first use.
"""

from fcn_jax.weights.hub.client import HubError
from fcn_jax.weights.hub.download import fetch_from_hub, hub_file
from fcn_jax.weights.hub.names import HubName, is_hub_name

__all__ = ["HubError", "HubName", "fetch_from_hub", "hub_file", "is_hub_name"]
