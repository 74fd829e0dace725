"""Compares a Segmenter on eight simulated devices with one on one, float64, for test_views.py."""

import jax
import numpy as np

from fcn_jax import Segmenter
from tests.inference.drawn_models import drawn_model
from tests.inference.test_views import NAME, picture


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    assert len(devices) == 8
    model = drawn_model(NAME)
    one = [picture(203, 141, seed) for seed in range(8)]
    for name, pictures, settings in (
        ("batch", one, {}),
        ("rows", one[:1], {}),
        ("tiles", [picture(701, 643)], {"tile": 200}),
    ):
        expected = Segmenter(model, **settings)(pictures)
        segmenter = Segmenter(model, devices=devices, **settings)
        results = segmenter(pictures)
        if name == "rows":  # which are split, since neighbours exchange what they must see
            engine = segmenter._engine
            image = np.zeros((1, 141, 203, 3), np.float32)
            assert "collective-permute" in engine._compute.lower(engine._arrays, image).compile().as_text()
        errors = [
            np.abs(a.logits - b.logits).max() / np.abs(b.logits).max()
            for a, b in zip(results, expected, strict=True)
        ]
        print(name, max(errors))


if __name__ == "__main__":
    main()
