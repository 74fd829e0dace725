"""Where the tensors are in a checkpoint, and what is said when they are not."""

import numpy as np
import pytest

from tests.weights_converter.assembled import (
    NO_HOOKS,
    assert_same,
    reason,
    storage,
    tensor,
    text,
    torch_zip_file,
)
from weights_converter.readers import read_checkpoint

FOUR = np.arange(4, dtype=np.float32)


def named(**entries: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def weights(key: str) -> bytes:
    """A state_dict of one tensor over storage `key`."""
    return named(w=tensor(storage(key=key)))


def checkpoint(folder, value: bytes):
    return torch_zip_file(
        folder / "f.pth", b"\x80\x02" + value + b".", s0=FOUR.tobytes(), s1=(FOUR + 9).tobytes()
    )


NAMESPACE = b"cargparse\nNamespace\n)\x81" + named(lr=b"K\x01") + b"b"
SCALAR = (
    b"cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
    + text("f8")
    + b"K\x00K\x01\x87RNb"
    + text("xx")
    + b"\x86R"
)


@pytest.mark.parametrize(
    "value",
    [
        weights("0"),
        named(model=weights("0")),
        named(state_dict=weights("0")),
        named(model=weights("0"), model_ema=weights("1")),
        named(model_ema=weights("1"), model=weights("0"), epoch=b"K\x01"),
        named(state_dict=weights("1"), model=weights("0")),
        named(model=text("fcn_resnet50"), state_dict=weights("0")),
        named(
            model=weights("0"),
            optimizer=named(state=b"}", w=tensor(storage(key="1"))),
            args=NAMESPACE,
            best=SCALAR,
        ),
    ],
)
def test_found(value, tmp_path):
    assert_same(read_checkpoint(checkpoint(tmp_path, value)), {"w": FOUR})


def test_metadata_of_the_state_dict_is_passed_over(tmp_path):
    ordered = NO_HOOKS + b"(" + text("w") + tensor(storage()) + b"u" + named(_metadata=NO_HOOKS) + b"b"
    assert_same(read_checkpoint(checkpoint(tmp_path, ordered)), {"w": FOUR})


def test_a_tensor_called_model(tmp_path):
    assert list(read_checkpoint(checkpoint(tmp_path, named(model=tensor(storage()))))) == ["model"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"}", "holds no tensors"),
        (named(model=b"}"), "holds no tensors"),
        (b"N", "the file holds a NoneType, not a state_dict; save `model.state_dict()`"),
        (b"]", "the file holds a list, not a state_dict"),
        (tensor(storage()), "the file holds a tensor, not a state_dict"),
        (NAMESPACE, "the file holds a argparse.Namespace, not a state_dict"),
        (
            b"}K\x01" + tensor(storage()) + b"s",
            "the file holds a dict with keys that are not names, such as 1",
        ),
        (named(state_dict=b"}K\x01Ns"), '"state_dict" holds a dict with keys that are not names, such as 1'),
        (b"}(" + (text("w") + tensor(storage())) * 2 + b"u", "the file holds the name 'w' twice"),
        (b"}(" + (text("model") + weights("0")) * 2 + b"u", "the file holds the name 'model' twice"),
    ],
)
def test_not_found(value, message, tmp_path):
    assert reason(checkpoint(tmp_path, value)).startswith(message)


def test_all_other_entries_are_named(tmp_path):
    value = named(w=tensor(storage()), epoch=b"K\x03", args=NAMESPACE, best=SCALAR, net=weights("1"))
    assert reason(checkpoint(tmp_path, value)) == (
        "its state_dict holds 4 entries that cannot be read as tensors: 'epoch' (int), 'args' "
        "(argparse.Namespace), 'best' (numpy.core.multiarray.scalar), 'net' (dict). Save the state_dict "
        'alone, or under "model" or "state_dict"'
    )


def test_very_many_other_entries_are_counted(tmp_path):
    value = named(**{f"x{number}": b"N" for number in range(1000)})
    assert "'x7' (NoneType) and 992 more" in reason(checkpoint(tmp_path, value))
