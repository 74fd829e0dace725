"""Our readers on files from torch.save, and torch.load on files that we write."""

import argparse
import collections
import datetime
import pathlib

import numpy as np
import pytest

from tests.seeded import seeded_paper_state_dict
from tests.weights_converter.assembled import assert_same, reason, small_tensors
from tests.weights_converter.legacy_writer import write_torch_legacy
from weights_converter.readers import read_checkpoint
from weights_converter.writers import write_torch_zip

torch = pytest.importorskip("torch")

FORMS = pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])
DTYPES = [
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2),
]


def save(path, value, new, **options):
    torch.save(value, path, _use_new_zipfile_serialization=new, **options)
    return path


def assert_equals_torch(found, expected):
    """Compares names in order, dtypes, shapes, strides and bits."""
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        array, tensor = found[name], tensor.detach()
        assert str(array.dtype) == str(tensor.dtype).removeprefix("torch."), name
        assert array.shape == tuple(tensor.shape), name
        if array.size > 1:
            assert array.strides == tuple(step * array.itemsize for step in tensor.stride()), name
        assert array.tobytes() == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes(), name


@FORMS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(dtype, new, tmp_path):
    tensor = torch.tensor([[0, 1, 3], [2, 1, 0]]).to(dtype)
    tensors = {"w": tensor, "scalar": torch.tensor(1).to(dtype), "empty": tensor[:0]}
    assert_equals_torch(read_checkpoint(save(tmp_path / "f", tensors, new)), tensors)


@FORMS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_module(protocol, new, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
    state_dict = module.state_dict()
    assert state_dict._metadata
    found = read_checkpoint(save(tmp_path / "f", state_dict, new, pickle_protocol=protocol))
    assert_equals_torch(found, state_dict)


@FORMS
def test_views_and_shared_storages(new, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "base": base,
        "transposed": base.T,
        "slice": base[1:3, ::2],
        "row": base[2],
        "expanded": torch.arange(3.0).expand(5, 3),
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
        "empty_of_base": base[4:],
    }
    found = read_checkpoint(save(tmp_path / "f", tensors, new))
    assert_equals_torch(found, tensors)
    assert np.shares_memory(found["base"], found["row"])


@FORMS
def test_parameters(new, tmp_path):
    parameter = torch.nn.Parameter(torch.randn(3))
    with_attribute = torch.nn.Parameter(torch.randn(2))
    with_attribute.note = "kept"
    marked = torch.randn(2)
    marked.note = "kept"
    frozen = torch.nn.Parameter(torch.randn(2), requires_grad=False)
    tensors = {
        "a": parameter,
        "b": with_attribute,
        "c": marked,
        "d": frozen,
        "e": torch.nn.Buffer(torch.ones(2)),
    }
    assert_equals_torch(read_checkpoint(save(tmp_path / "f", tensors, new)), tensors)


@FORMS
def test_a_training_checkpoint(new, tmp_path):
    module = torch.nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 5])
    checkpoint = {
        "model": module.state_dict(),
        "model_ema": {"w": torch.zeros(1)},
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),
        "args": argparse.Namespace(
            lr=0.02, device=torch.device("cpu"), folder=pathlib.Path("a"), size=torch.Size([1])
        ),
        "epoch": 3,
        "best": np.float64(0.6),
        "confusion": np.arange(4).reshape(2, 2),
        "names": {"a", "b"},
        "counts": collections.defaultdict(int, a=1),
        "when": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        "dtype": torch.float32,
        "rng": torch.get_rng_state(),
    }
    for protocol in (2, 4):
        path = save(tmp_path / "f", checkpoint, new, pickle_protocol=protocol)
        assert_equals_torch(read_checkpoint(path), module.state_dict())


@FORMS
def test_parallel_names(new, tmp_path):
    state_dict = torch.nn.Linear(2, 3).state_dict()
    path = save(tmp_path / "f", {"state_dict": {f"module.{k}": v for k, v in state_dict.items()}}, new)
    assert_equals_torch(read_checkpoint(path), state_dict)


@FORMS
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_other_kinds_of_tensor_are_named(new, tmp_path):
    tensors = {
        "w": torch.ones(2),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "sparse": torch.eye(2).to_sparse(),
        "conj": torch.ones(2, dtype=torch.complex64).conj(),
        "meta": torch.ones(2, device="meta"),
    }
    message = reason(save(tmp_path / "f", tensors, new))
    assert "4 entries" in message
    for expected in (
        "'quantized' (a quantized tensor)",
        "'sparse' (a sparse tensor)",
        "'conj' (a tensor with its conjugate or negative bit set)",
        "'meta' (a meta tensor, without values)",
    ):
        assert expected in message


@FORMS
def test_a_whole_module(new, tmp_path):
    assert reason(save(tmp_path / "f", torch.nn.Linear(2, 3), new)).startswith(
        "this is a whole pickled module"
    )


def test_without_checksums(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        tensors = {"w": torch.randn(5)}
        save(tmp_path / "f", tensors, True)
    finally:
        torch.serialization.set_crc32_options(True)
    assert_equals_torch(read_checkpoint(tmp_path / "f"), tensors)


def test_big_endian(tmp_path):
    """A file that torch.save writes on a big-endian machine; torch.load swaps its bytes, and so do we."""
    import zipfile

    from tests.weights_converter.assembled import zip_file

    tensor = torch.randn(2, 3)
    save(tmp_path / "little", {"w": tensor}, True)
    with zipfile.ZipFile(tmp_path / "little") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    records["little/byteorder"] = b"big"
    records["little/data/0"] = tensor.numpy().byteswap().tobytes()
    path = zip_file(tmp_path / "big", records)
    assert torch.equal(torch.load(path, weights_only=True)["w"], tensor)
    assert_equals_torch(read_checkpoint(path), {"w": tensor})


def test_the_stream_flag_of_the_machine_is_ignored_by_torch_too(tmp_path):
    tensor = torch.randn(3)
    path = save(tmp_path / "f", {"w": tensor}, False)
    path.write_bytes(path.read_bytes().replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"))
    assert torch.equal(torch.load(path, weights_only=True)["w"], tensor)
    assert_equals_torch(read_checkpoint(path), {"w": tensor})


def test_torch_loads_what_we_write(tmp_path):
    tensors = small_tensors() | {"strided": np.arange(6.0).reshape(2, 3).T, "big": np.arange(3, dtype=">i4")}
    write_torch_zip(tmp_path / "f", tensors)
    loaded = torch.load(tmp_path / "f", weights_only=True)
    assert type(loaded) is collections.OrderedDict
    assert all(type(tensor) is torch.Tensor and tensor.is_contiguous() for tensor in loaded.values())
    native = {name: array.astype(array.dtype.newbyteorder("=")) for name, array in tensors.items()}
    assert_same(read_checkpoint(tmp_path / "f"), native)
    assert list(loaded) == list(native)
    for name, array in native.items():
        assert str(loaded[name].dtype) == f"torch.{array.dtype}", name
        assert tuple(loaded[name].shape) == array.shape, name
        assert loaded[name].reshape(-1).view(torch.uint8).numpy().tobytes() == array.tobytes(), name


def test_the_stream_form_that_tests_write_is_torchs(tmp_path):
    tensors = small_tensors() | {"strided": np.arange(6.0).reshape(2, 3).T}
    write_torch_legacy(tmp_path / "f", tensors)
    loaded = torch.load(tmp_path / "f", weights_only=True)
    assert_equals_torch(read_checkpoint(tmp_path / "f"), loaded)
    assert_same(read_checkpoint(tmp_path / "f"), tensors)


def test_torch_maps_what_we_write(tmp_path):
    write_torch_zip(tmp_path / "f", {"w": np.arange(5, dtype=np.float32)})
    assert torch.load(tmp_path / "f", weights_only=True, mmap=True)["w"].tolist() == [0, 1, 2, 3, 4]


def test_a_module_takes_what_we_write(tmp_path):
    module = torch.nn.BatchNorm2d(3)
    tensors = {name: tensor.numpy() + 1 for name, tensor in module.state_dict().items()}
    write_torch_zip(tmp_path / "f", tensors)
    module.load_state_dict(torch.load(tmp_path / "f", weights_only=True))
    assert module.num_batches_tracked.item() == 1
    assert module.running_var.tolist() == [2, 2, 2]


class Small(torch.nn.Module):
    """The names of FCN-32s in the PyTorch port, without its arithmetic."""

    def __init__(self, tensors):
        super().__init__()
        for name, array in tensors.items():
            layer, _, leaf = name.rpartition(".")
            if not hasattr(self, layer):
                self.add_module(layer, torch.nn.Module())
            getattr(self, layer).register_parameter(leaf, torch.nn.Parameter(torch.from_numpy(array.copy())))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


@FORMS
def test_a_pickled_network(new, tmp_path):
    """torch.save(model): its tensors are found in its parts, and nothing of it is run."""
    network = Small(seeded_paper_state_dict("fcn32s_vgg16"))
    path = save(tmp_path / "f", {"net": torch.nn.DataParallel(network)}, new)
    assert_equals_torch(read_checkpoint(path), network.state_dict())


@pytest.mark.filterwarnings("ignore")
def test_torchscript(tmp_path):
    tensors = dict(seeded_paper_state_dict("fcn32s_vgg16"))
    torch.jit.save(torch.jit.trace(Small(tensors), torch.ones(1)), tmp_path / "f.pt")
    found = read_checkpoint(tmp_path / "f.pt")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
