"""fcn-jax models: a row for every published file."""

import pytest

from fcn_jax import list_models
from fcn_jax.weights import get_model_weights

NAMES = (*list_models(), "resnet50", "resnet101", "vgg16", "caffenet")


@pytest.mark.parametrize("name", NAMES)
def test_every_member_has_its_row(cli, name):
    rows = [line.split() for line in cli("models").out.splitlines()]
    for weights in get_model_weights(name):
        row = next(row for row in rows if row and row[-1] == weights.file_name)
        assert row[:3] == [name, weights.name, f"{weights.meta['num_params']:,}"]
        for scores in weights.meta["_metrics"].values():
            assert all(str(score) in " ".join(row) for score in scores.values())
        assert type(weights.transforms()).__name__ in row


def test_the_table(cli, tmp_path):
    status, out, err = cli("models")
    assert (status, err) == (0, "")
    header, *rows = out.partition("\n\n")[0].splitlines()
    assert len(rows) == sum(len(get_model_weights(name)) for name in NAMES)
    assert {row.rindex(row.split()[-1]) for row in rows} == {header.index("file")}  # columns are aligned
    assert f"Cache: {tmp_path / 'cache'} " in out


def test_a_file_in_the_cache_is_marked(cli, tmp_path):
    assert "(in the cache)" not in cli("models").out
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "resnet50-0676ba61.pth").touch()
    marked = [line for line in cli("models").out.splitlines() if line.endswith("(in the cache)")]
    assert len(marked) == 1
    assert "resnet50-0676ba61.pth" in marked[0]
