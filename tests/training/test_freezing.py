"""Frozen parts: what stays to the bit, what it costs, and what cannot be frozen."""

import jax
import numpy as np
import pytest

import fcn_jax
from fcn_jax.errors import SettingError
from fcn_jax.models.arrays import Structure, named_variables
from fcn_jax.training.freezing import frozen_names, hold_statistics
from fcn_jax.training.objective import Objective
from tests.training.small import NUM_CLASSES, small_batch, small_model
from tests.training.tiny_run import SETTINGS, assert_same_weights, tiny_run
from weights_converter import load_model_file


def everything(model) -> set[str]:
    return set(named_variables(model))


def test_what_a_prefix_freezes():
    model = small_model()
    loaded = everything(model)
    assert frozen_names(model, ["conv1", "bn1"], loaded) == {
        *("conv1.kernel", "conv1.bias", "bn1.scale", "bn1.bias", "bn1.mean", "bn1.var")
    }
    assert frozen_names(model, [], loaded) == frozenset()


def test_what_no_file_filled_learns_and_is_named(caplog):
    model = small_model()
    assert "conv1.bias" not in frozen_names(model, ["conv1"], {"conv1.kernel"})
    assert caplog.messages == ["freeze conv1: random, so learned all the same: conv1"]


@pytest.mark.parametrize(
    ("prefixes", "loaded", "message"),
    [
        (["layer9"], None, "freeze: expected the beginning of a name, such as .*conv1.*, got 'layer9'"),
        (["conv1"], set(), "freeze: conv1 is random: no file filled it; give weights or weights_backbone"),
        (["conv", "bn", "classifier", "aux"], None, "freeze: every parameter would be frozen"),
    ],
)
def test_what_cannot_be_frozen(prefixes, loaded, message):
    model = small_model()
    with pytest.raises(SettingError, match=message):
        frozen_names(model, prefixes, everything(model) if loaded is None else loaded)


def objective_of(model, prefixes) -> Objective:
    model.train()
    frozen = frozen_names(model, prefixes, everything(model))
    hold_statistics(model, frozen)
    return Objective(structure=Structure(model, frozen), num_classes=NUM_CLASSES)


def test_frozen_statistics_stay_and_are_what_normalizes():
    model = small_model()
    objective = objective_of(model, ["conv1", "bn1"])
    params, rest = objective.structure.split(model)
    assert not any(name.startswith(("conv1", "bn1")) for name in params)
    assert "bn1.mean" not in objective.structure.averaged
    assert "bn2.mean" in objective.structure.averaged
    batch = small_batch(2)
    denominator = objective.denominator(params, batch["labels"])
    run = jax.jit(lambda rest: objective(params, rest, batch, denominator))
    loss, (after, _) = run(rest)
    np.testing.assert_array_equal(after["bn1.mean"], rest["bn1.mean"])
    assert (np.asarray(after["bn2.mean"]) != rest["bn2.mean"]).all()
    assert run(rest | {"bn1.mean": rest["bn1.mean"] + 1})[0] != loss  # a batch's own mean would cancel this


def flops(function, *arguments) -> float:
    return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]


def test_a_frozen_backbone_has_no_backward_pass():
    model = fcn_jax.fcn8s_vgg16(num_classes=NUM_CLASSES, features=(4, 6, 8, 10, 12), fc_features=16)
    batch = small_batch(1)
    costs = {}
    for name, prefixes in {"learns": [], "frozen": ["backbone"]}.items():
        objective = objective_of(model, prefixes)
        params, rest = objective.structure.split(model)
        arguments = params, rest, batch, objective.denominator(params, batch["labels"])
        costs[name] = flops(jax.grad(objective, has_aux=True), *arguments)
        costs["forward"] = flops(objective, *arguments)
    assert costs["frozen"] < 1.1 * costs["forward"]
    assert costs["learns"] > 2.3 * costs["forward"]


FROZEN = {"freeze": ("backbone.conv",), "lr_factors": ("score=10",)}


def test_a_run_leaves_frozen_parts_alone_and_goes_on_bit_for_bit(tmp_path):
    widths = {name: SETTINGS[name] for name in ("features", "fc_features")}
    model = fcn_jax.fcn32s_alexnet(num_classes=6, **widths)
    fcn_jax.save_weights(model, tmp_path / "start.safetensors")
    settings = {"weights": tmp_path / "start.safetensors", **FROZEN}
    assert tiny_run(tmp_path / "whole", **settings).train() == 0
    found = load_model_file(tmp_path / "whole" / "last.safetensors").params
    for name, variable in named_variables(model).items():
        same = found[name].tobytes() == np.asarray(variable[...]).tobytes()
        assert same == name.startswith(("backbone.conv", "upscore")), name
    with tiny_run(tmp_path / "parts", **settings) as run:
        run.prepare()
        for batch in run.batches():
            run.step(batch)
            if run.evaluation_due:
                run.evaluate()
            if run.done == 3:
                break
        run.save()
    assert tiny_run(tmp_path / "parts", **settings).train() == 0
    assert_same_weights(tmp_path / "whole" / "last.safetensors", tmp_path / "parts" / "last.safetensors")
