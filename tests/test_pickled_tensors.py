"""The reader of pickled tensors: what torch wrote comes back, all else is refused, and nothing of a file is run."""

import io
import random
import struct
import zipfile
from collections import OrderedDict
from fractions import Fraction

import pytest
import torch
from torch import nn

from lens.pickled_tensors import STORAGES, PickledTensorsError, read_pickled_tensors


@pytest.fixture
def saved(tmp_path):
    def save(value, **options):
        torch.save(value, tmp_path / "file.pt", **options)
        return tmp_path / "file.pt"

    return save


def remade(path, change):
    """The archive with its members as ``change(name, bytes)`` gives them; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, change(name.split("/", 1)[1], archive.read(name))) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            if content is not None:
                archive.writestr(name, content)
    return path


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_wrote_comes_back(saved, protocol):
    base = torch.randn(6, 4)
    value = {
        "J": {layer: torch.randn(3, 3).half() for layer in range(300)},
        "n_prompts": 100,
        "source_layers": list(range(300)),
        "views": (base, base[1:, ::2], base.T, base[0]),
        "numbers": [1, -7, 2**40, 0.5, True, None, "text", "ü" * 300],
        **{name: torch.ones(2, dtype=dtype) for name, dtype in STORAGES.items()},
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.0),
    }
    found = read_pickled_tensors(saved(value, pickle_protocol=protocol))
    assert same(value, found)
    # views of one storage are so again
    assert found["views"][0].untyped_storage().data_ptr() == found["views"][3].untyped_storage().data_ptr()


def test_a_state_dictionary_comes_back(saved):
    layer = nn.Linear(3, 2).requires_grad_(False)
    found = read_pickled_tensors(saved(layer.state_dict()))
    assert same(dict(layer.state_dict()), found)


@pytest.mark.parametrize(
    "value, said",
    [
        ({"x": Fraction(1, 2)}, "fractions.Fraction"),
        ({"x": nn.Parameter(torch.ones(2))}, "_rebuild_parameter"),
        ({"x": nn.Linear(1, 1)}, "torch.nn.modules.linear.Linear"),
        ({"x": {1, 2}}, "EMPTY_SET|__builtin__.set"),
        ({"x": torch.float32}, "torch.float32"),
        ({"x": len}, "__builtin__.len"),
        ({"x": b"bytes"}, "codecs.encode|SHORT_BINBYTES"),
        ({"x": torch.ones(2).to_sparse()}, "_rebuild_sparse_tensor"),
        ({"x": OrderedDict}, "it holds"),
        (torch.ones(2), "no dictionary"),
        ([1, 2], "no dictionary"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_no_plain_tensor_is_refused(saved, value, said):
    with pytest.raises(PickledTensorsError, match=said):
        read_pickled_tensors(saved(value))


def test_a_dictionary_within_itself_is_refused_and_shared_ones_are_looked_at_once(saved):
    value = {"x": torch.ones(2)}
    value["self"] = value
    with pytest.raises(PickledTensorsError, match="holds itself"):
        read_pickled_tensors(saved(value))
    wide = {"x": torch.ones(2)}
    for _ in range(15):
        wide = {str(n): wide for n in range(50)}
    assert list(read_pickled_tensors(saved(wide))) == list(wide)


def test_files_that_are_none(saved, tmp_path):
    with pytest.raises(PickledTensorsError, match="no such file"):
        read_pickled_tensors(tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(PickledTensorsError, match="no zip archive"):
        read_pickled_tensors(tmp_path / "text.pt")
    old = saved({"x": torch.ones(2)}, _use_new_zipfile_serialization=False)
    with pytest.raises(PickledTensorsError, match="no zip archive"):
        read_pickled_tensors(old)


def test_sizes_are_held_against_the_archive(saved):
    value = {"x": torch.arange(12.0).view(3, 4)}
    read_pickled_tensors(remade(saved(value), lambda name, content: content))
    short = remade(saved(value), lambda name, content: content[:-4] if name == "data/0" else content)
    with pytest.raises(PickledTensorsError, match="has 44 bytes"):
        read_pickled_tensors(short)
    gone = remade(saved(value), lambda name, content: None if name == "data/0" else content)
    with pytest.raises(PickledTensorsError, match="no member data/0"):
        read_pickled_tensors(gone)
    order = remade(saved(value), lambda name, content: b"big" if name == "byteorder" else content)
    with pytest.raises(PickledTensorsError, match="little-endian"):
        read_pickled_tensors(order)
    twice = saved(value)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[-1], b"")
    with pytest.raises(PickledTensorsError, match="one name"):
        read_pickled_tensors(twice)
    packed = saved(value)
    with zipfile.ZipFile(packed) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(PickledTensorsError, match="compressed"):
        read_pickled_tensors(packed)


def _number(old, new):
    """A change of one small number in the program, where it stands once before the other."""
    return lambda name, content: content.replace(bytes(old), bytes(new), 1) if name == "data.pkl" else content


@pytest.mark.parametrize(
    "old, new",
    [
        # BININT1 operations: size (3, 4), stride (4, 1)
        ((b"K\x03K\x04"), (b"K\x04K\x04")),
        ((b"K\x04K\x01"), (b"K\x05K\x01")),
        ((b"K\x03K\x04"), (b"J" + struct.pack("<i", -3) + b"K\x04")),
        ((b"K\x04K\x01"), (b"K\x00K\x01\x30K\x02")),
    ],
)
def test_a_tensor_beyond_its_bytes_is_refused(saved, old, new):
    path = remade(saved({"x": torch.arange(12.0).view(3, 4)}), _number(old, new))
    with pytest.raises(PickledTensorsError):
        read_pickled_tensors(path)


def test_no_damage_of_a_program_does_more_than_be_refused(saved, tmp_path):
    draw = random.Random(0)
    path = saved({"x": torch.arange(12.0).view(3, 4), "y": [1, {"z": torch.ones(2)}], "t": ("a", 2.5, None)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    program = next(name for name in members if name.endswith("data.pkl"))
    whole, refused = members[program], 0
    # no operation that calls is among the bytes that are put in: the names in the file stay the ones that torch wrote
    harmless = [op for op in range(256) if op not in b"Rcib\x81\x92\x93o"]
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(content))
            match draw.randrange(3):
                case 0:
                    content[at] = draw.choice(harmless)
                case 1:
                    del content[at]
                case 2:
                    content.insert(at, draw.choice(harmless))
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, old in members.items():
                archive.writestr(name, bytes(content) if name == program else old)
        path.write_bytes(file.getvalue())
        try:
            assert isinstance(read_pickled_tensors(path), dict)
        except PickledTensorsError as error:
            assert "file.pt" in str(error)
            refused += 1
    assert refused > 100


def test_no_damage_of_an_archive_does_more_than_be_refused(saved):
    draw, path = random.Random(1), saved({"x": torch.ones(64)})
    whole = path.read_bytes()
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(3):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(
            bytes(content[: draw.randint(len(content) // 2, len(content))] if draw.random() < 0.2 else content)
        )
        try:
            read_pickled_tensors(path)
        except PickledTensorsError:
            pass
