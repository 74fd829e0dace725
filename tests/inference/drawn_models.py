"""Models of both families with drawn weights, float64, narrow where they can be."""

import functools

import jax.numpy as jnp

import fcn_jax
from tests.seeded import seeded_paper_state_dict, seeded_state_dict

PAPER = ("fcn32s_vgg16", "fcn16s_vgg16", "fcn8s_vgg16", "fcn8s_atonce_vgg16", "fcn32s_alexnet")
NAMES = ("fcn_resnet50", *PAPER)


@functools.lru_cache(maxsize=len(NAMES))
def drawn_model(name: str, dtype: str = "float64"):
    """Builds it with 5 classes; the ResNet also has its auxiliary head. Float64 needs JAX's 64 bits."""
    weights = seeded_paper_state_dict(name) if name in PAPER else seeded_state_dict(name, 5)
    weights = {
        key: value.astype(dtype) if value.dtype == "float64" else value for key, value in weights.items()
    }
    return fcn_jax.get_model(name, weights=weights, param_dtype=jnp.dtype(dtype))
