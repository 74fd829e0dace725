"""Puts models on the Hugging Face Hub. Needs `pip install 'fcn_jax[hub]'`, imported at the first use."""

from fcn_jax.sharing.card import model_card
from fcn_jax.sharing.push import push_to_hub

__all__ = ["model_card", "push_to_hub"]
