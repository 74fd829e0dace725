"""A manifest vouches for itself and for its arrays, or says what is wrong."""

import copy
import json

import jax
import jax.numpy as jnp
import pytest

from fcn_jax.errors import WrongTypeError
from fcn_jax.training.checkpointing import manifest as manifests
from fcn_jax.training.checkpointing.manifest import (
    CheckpointsDiffer,
    StepDamaged,
    changed_arrays,
    check_same_arrays,
    make_manifest,
    read_manifest,
)

ARRAYS = {"b/kernel": jnp.arange(6.0).reshape(2, 3), "a": jnp.ones((), jnp.int32), "key": jax.random.key(1)}


@pytest.fixture(scope="module")
def sealed():
    return make_manifest(7, ARRAYS, {"epoch": 3, "loss": 0.1, "sizes": (480, 480)})


def test_there_and_back_as_json(sealed):
    manifest = read_manifest(json.loads(json.dumps(sealed)), 7)
    assert manifest["facts"] == {"epoch": 3, "loss": 0.1, "sizes": [480, 480]}
    assert list(manifest["arrays"]) == list(ARRAYS)
    assert manifest["arrays"]["b/kernel"] | {"digest": ""} == {
        "shape": [2, 3],
        "dtype": "float32",
        "digest": "",
    }
    assert changed_arrays(manifest, ARRAYS) is None
    check_same_arrays(manifest, ARRAYS)


@pytest.mark.parametrize("facts", [{"array": jnp.zeros(2)}, {(1, 2): 3}, {"set": {1}}])
def test_facts_that_json_cannot_hold(facts):
    with pytest.raises(WrongTypeError, match="facts: expected what JSON can hold, got"):
        make_manifest(1, ARRAYS, facts)


@pytest.mark.parametrize("sealed", [None, {}, "text", {"manifest": {}}])
def test_no_manifest(sealed):
    with pytest.raises(StepDamaged, match="it has no manifest"):
        read_manifest(sealed, 7)


@pytest.mark.parametrize("path", [("step",), ("facts", "epoch"), ("arrays", "a", "digest"), ("jax",)])
def test_every_entry_is_sealed(sealed, path):
    changed = copy.deepcopy(sealed)
    *groups, entry = ("manifest", *path)
    place = changed
    for name in groups:
        place = place[name]
    place[entry] = "another"
    with pytest.raises(StepDamaged, match="its manifest is not the one that was saved"):
        read_manifest(changed, 7)


def test_another_step(sealed):
    with pytest.raises(StepDamaged, match="its arrays belong to step 7"):
        read_manifest(sealed, 8)


def test_another_format(monkeypatch):
    monkeypatch.setattr(manifests, "FORMAT", 2)
    newer = make_manifest(7, ARRAYS, {})
    monkeypatch.undo()
    with pytest.raises(
        CheckpointsDiffer, match=r"expected a checkpoint of format 1, got format 2 .*version of"
    ):
        read_manifest(newer, 7)


def test_changed_arrays_are_named(sealed):
    many = {f"array {number}": jnp.full(2, number) for number in range(6)}
    manifest = make_manifest(7, many, {})["manifest"]
    found = {name: array + (name != "array 1") for name, array in many.items()}
    expected = "numbers differ from the saved ones in array 0, array 2, array 3 and 2 more"
    assert changed_arrays(manifest, found) == expected


def test_what_differs_is_named(sealed):
    here = {"b/kernel": jnp.zeros((3, 2)), "new": jnp.zeros(1), "key": jax.random.key(1, impl="rbg")}
    with pytest.raises(CheckpointsDiffer) as error:
        check_same_arrays(sealed["manifest"], here)
    message = str(error.value)
    assert "saved but not here: a; here but not saved: new; changed: b/kernel" in message
    assert (
        "b/kernel (saved float32 (2, 3), here float32 (3, 2)), key (saved key<fry> (), here key<rbg> ())"
        in message
    )
    assert "choose another folder" in message
