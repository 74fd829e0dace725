"""Compares a Segmenter on eight simulated devices with one on a single device, in float64."""

import pickle
import sys
from pathlib import Path

import jax
import numpy as np

from fcn_jax import Segmenter
from tests.inference.drawn_models import drawn_model
from tests.inference.tiny import TinyFCN, TinyModel, picture


def logits(result) -> np.ndarray:
    """Returns the logits of the only view of a result."""
    return result.logits


def report(name: str, results, expected) -> None:
    """Prints the largest error over the largest value."""
    pairs = zip(results, expected, strict=True)
    print(name, max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))


def main() -> None:
    # Loaded before x64 is set, as when it was pickled.
    segmenter, result, expected = pickle.loads(Path(sys.argv[1]).read_bytes())
    again = segmenter(picture(61, 43))
    report("unpickled", [again.confidence, again.probability(3)], expected)
    report("result", [result.confidence, result.probability(3)], expected)

    jax.config.update("jax_enable_x64", True)
    devices = jax.devices()
    assert len(devices) == 8
    tiny, real = TinyFCN(), drawn_model("fcn8s_vgg16")
    odd = Segmenter(real, devices=devices[:7]), Segmenter(TinyModel(), devices=devices[:3])
    for name, several, model in (("odd", odd[0], real), ("foreign", odd[1], TinyModel())):
        sizes = [(61, 43), (43, 61)] if name == "odd" else [(43, 61)]
        results = [several(picture(*size)) for size in sizes]
        report(name, map(logits, results), map(logits, [Segmenter(model)(picture(*size)) for size in sizes]))
    for name, model, pictures, settings in (
        ("batch", tiny, [picture(61, 43, seed) for seed in range(8)], {}),
        ("sizes", real, [picture(61 - seed % 5, 43 - seed % 3, seed) for seed in range(8)], {}),
        ("rows", real, [picture(61, 43)], {}),
        ("tiles", tiny, [picture(501, 143)], {"tile": 64}),
    ):
        one, all_of_them = Segmenter(model, **settings), Segmenter(model, devices=devices, **settings)
        results = all_of_them(pictures)
        report(name, map(logits, results), map(logits, one(pictures)))
        if name == "rows":  # these are split: neighbours exchange rows
            assert "collective-permute" in all_of_them.lowered((43, 61)).compile().as_text()
            copy = pickle.loads(pickle.dumps(all_of_them))
            (again,) = copy(pictures)
            report("pickled", [again.confidence], [results[0].confidence])
            array, _ = jax.tree.leaves(again.views[0].coarse)
            assert len(array.devices()) == 8


if __name__ == "__main__":
    main()
