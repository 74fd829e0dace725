"""Checkpoints of several files, and folders: read, or named for what they are."""

import json

import numpy as np
import pytest

from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.assembled import reason
from weights_converter import (
    load_model_file,
    read_checkpoint,
    save_conversion,
    write_safetensors,
    write_torch_zip,
)

TENSORS = dict(seeded_paper_state_dict("fcn32s_vgg16"))
HALF = len(TENSORS) // 2
PARTS = (dict(list(TENSORS.items())[:HALF]), dict(list(TENSORS.items())[HALF:]))


def write_shard(path, tensors):
    if path.suffix == ".safetensors":
        write_safetensors(path, tensors, {})
    else:
        write_torch_zip(path, tensors)


@pytest.fixture(params=["safetensors", "bin"])
def index(request, tmp_path):
    placed = {}
    for number, part in enumerate(PARTS, 1):
        name = f"model-0000{number}-of-00002.{request.param}"
        write_shard(tmp_path / name, part)
        placed |= dict.fromkeys(part, name)
    path = tmp_path / f"model.{request.param}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return path


def test_an_index_or_its_folder_is_the_whole_checkpoint(index, tmp_path):
    for path in (index, tmp_path):
        found = read_checkpoint(path)
        assert list(found) == list(TENSORS)
        assert all(np.array_equal(found[name], TENSORS[name]) for name in TENSORS)
    conversion = load_model_file(tmp_path)
    assert conversion.spec.name == "fcn32s_vgg16"
    save_conversion(conversion, tmp_path / "new.safetensors")
    assert load_model_file(tmp_path / "new.safetensors").metadata["source"] == tmp_path.name


def test_what_is_wrong_with_an_index(index, tmp_path):
    good = json.loads(index.read_text())
    first = next(iter(TENSORS))
    for changed, message in [
        ({first: "../x.safetensors"}, "its shard '../x.safetensors' does not lie beside it"),
        ({"other": good["weight_map"][first]}, "lacks 1 tensors, such as 'other'"),
        ({first: 3}, 'is JSON, but no index of shards: it has no "weight_map"'),
    ]:
        index.write_text(json.dumps({"weight_map": good["weight_map"] | changed}))
        assert message in reason(index)
    for text in ("{}", '{"a": [1]}'):
        index.write_text(text)
        assert reason(index).startswith("is JSON, but no index of shards")
    for text in ("{", '{"a":' + "[" * 10**5):
        index.write_text(text)
        assert reason(index).startswith("is no index of shards: it is not JSON")


def test_a_missing_shard_is_named(index, tmp_path):
    shard = next(tmp_path.glob("*00002-of*"))
    shard.unlink()
    with pytest.raises(ValueError, match=f"{shard.name}: there is no such file"):
        read_checkpoint(index)


def test_folders_are_named(tmp_path):
    (tmp_path / "model.safetensors").touch()
    assert reason(tmp_path) == "is a folder; give the checkpoint file inside it, such as 'model.safetensors'"
    (tmp_path / ".metadata").touch()
    (tmp_path / "__0_0.distcp").touch()
    assert "torch.distributed.checkpoint.format_utils dcp_to_torch" in reason(tmp_path)
    for name in ("a.index.json", "b.index.json"):
        (tmp_path / name).touch()
    assert reason(tmp_path).startswith("is a folder with 2 indexes of shards; give one: 'a.index.json'")
