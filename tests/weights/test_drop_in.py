"""Sealed tensors come as safetensors gives them, and no other slot is touched for them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open as plain_open

import dutchdoor.weights
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Tampered
from dutchdoor.weights.arena import ArenaPool
from dutchdoor.weights.drop_in import Keys, fill_module, load_file, safe_open
from dutchdoor.weights.format import SLOT_PLAIN_BYTES, parse_head
from dutchdoor.weights.reader import ReadOptions, SealedBundle
from dutchdoor.weights.slices import gather, plan_slice
from tests.weights.parts import TRUST, Sealed, safetensors, seal

ROWS, COLUMNS = 1_500, 700  # Of float32: 4.2 MB, five slots.


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    seeded = random.Random(3)
    return {
        "a.safetensors": safetensors(
            {
                "first": ("BF16", [1000], seeded.randbytes(2_000)),
                "wide": ("F32", [ROWS, COLUMNS], seeded.randbytes(4 * ROWS * COLUMNS)),
                "none": ("F32", [0, 3], b""),
            }
        ),
        "b.safetensors": safetensors(
            {
                "experts": ("I16", [3, 400, 500], seeded.randbytes(2 * 3 * 400 * 500)),
                "scale": ("F32", [], b"\0\0\x80?"),
            }
        ),
        "config.json": b"{}",
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> Sealed:
    return seal(tmp_path_factory.mktemp("many"), files)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> dict[str, Any]:
    """What the safetensors library itself reads of the same bytes."""
    folder = tmp_path_factory.mktemp("plain")
    found = {}
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(files[name])
        with plain_open(folder / name, "pt") as tensors:
            found.update({key: tensors.get_tensor(key) for key in tensors.keys()})  # noqa: SIM118
    return found


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes: random bits are often no numbers, and those are never equal."""
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def keys_of(sealed: Sealed) -> Keys:
    return Keys(sealed.key, TRUST)


def test_all_tensors_are_those_of_the_safetensors_library(
    many: Sealed, plain: dict[str, Any]
) -> None:
    loaded = load_file(many.path, keys=keys_of(many))
    assert set(loaded) == set(plain)
    for name, tensor in plain.items():
        assert torch.equal(raw(loaded[name]), raw(tensor)), name
        assert (loaded[name].dtype, loaded[name].shape) == (tensor.dtype, tensor.shape)


def test_one_file_of_a_bundle_is_opened_by_its_name(many: Sealed, plain: dict[str, Any]) -> None:
    with safe_open(many.path / "b.safetensors", "np", keys=keys_of(many)) as tensors:
        assert tensors.keys() == ["experts", "scale"]
        assert tensors.offset_keys() == ["experts", "scale"]
        assert tensors.metadata() == {"format": "pt"}
        assert len(tensors) == 2
        scale = tensors.get_tensor("scale")
        assert scale.shape == ()
        assert float(scale) == 1.0
        np.testing.assert_array_equal(tensors.get_tensor("experts"), plain["experts"].numpy())
        with pytest.raises(NotFound):
            tensors.get_tensor("wide")


SLICES: list[Any] = [
    slice(2, 5),
    slice(None),
    7,
    -1,
    (slice(None), slice(100, 350)),
    (slice(3, 1400, 7), slice(0, 1)),
    (slice(None), slice(None, None, 2)),
    (..., 5),
    (slice(10, 10), ...),
    (1499, 699),
    [slice(0, 2), 3],
]


@pytest.mark.parametrize("index", SLICES, ids=str)
def test_a_slice_is_what_the_tensor_s_slice_is(
    many: Sealed, plain: dict[str, Any], index: Any
) -> None:
    with many.open() as bundle:
        part = safe_open(bundle).get_slice("wide")
        assert part.get_shape() == [ROWS, COLUMNS]
        assert part.get_dtype() == "F32"
        wanted = plain["wide"][tuple(index) if isinstance(index, list) else index]
        found = part[index]
        assert found.shape == wanted.shape
        assert torch.equal(raw(found), raw(wanted))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_slice_of_any_shape_is_numpy_s(data: st.DataObject) -> None:
    """Over the bytes themselves, with slots of the real size."""
    shape = data.draw(st.sampled_from([(3, 40, 50), (2100, 130), (1, 1), (7,), (2, 3, 0), ()]))
    size = st.integers(-60, 60) | st.none()
    step = st.sampled_from([None, 1, 2, 5])
    index = tuple(
        slice(data.draw(size), data.draw(size), data.draw(step)) for _ in range(len(shape))
    )
    begin = data.draw(st.integers(0, 3 * SLOT_PLAIN_BYTES))
    whole = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    raw = bytes(begin) + whole.tobytes()
    asked: list[int] = []

    def slot(number: int) -> memoryview:
        asked.append(number)
        return memoryview(raw)[number * SLOT_PLAIN_BYTES : (number + 1) * SLOT_PLAIN_BYTES]

    stretches = plan_slice(shape, 8, index)
    memory = memoryview(bytearray(stretches.total))
    gather(stretches, begin, slot, memory)
    wanted = whole[index]
    assert stretches.shape == wanted.shape
    assert bytes(memory) == wanted.tobytes()
    assert asked == sorted(set(asked)), "a slot was decrypted twice"


@pytest.mark.parametrize(
    "index",
    [slice(None, None, -1), 1500, -1501, (0, 0, 0), None, True, "x", (..., ...), slice("a", None)],
    ids=str,
)
def test_a_slice_that_is_none_is_refused(many: Sealed, index: Any) -> None:
    with many.open() as bundle, pytest.raises(Invalid) as caught:
        safe_open(bundle).get_slice("wide")[index]
    assert caught.value.code == "bad_slice"


def test_only_the_slots_of_a_slice_are_read(many: Sealed, tmp_path: Path) -> None:
    """Every other slot is destroyed: what is asked for comes, what is not is refused."""
    path = many.copy(tmp_path)
    name = many.file_of("a.safetensors")
    data = bytearray((path / name).read_bytes())
    header, _ = parse_head(bytes(data[:65_536]))
    assert header.slots == 5
    for number in (0, 1, 3, 4):
        span = header.slot(number)
        data[span.offset : span.end] = bytes(span.size)
    (path / name).write_bytes(data)
    row = 2 * SLOT_PLAIN_BYTES // (4 * COLUMNS) + 1
    with many.open(path) as bundle:
        tensors = safe_open(bundle)
        assert tensors.get_slice("wide")[row : row + 300].shape == (300, COLUMNS)
        assert tensors.get_slice("wide")[row : row + 300, 5:9].shape == (300, 4)
        for index in (slice(0, 2), slice(None), (slice(None), 3)):
            with pytest.raises(Tampered):
                tensors.get_slice("wide")[index]
        with pytest.raises(Tampered):
            tensors.get_tensor("first")


def test_a_plain_file_is_never_opened_in_the_place_of_a_sealed_one(
    many: Sealed, tmp_path: Path, files: dict[str, bytes]
) -> None:
    (tmp_path / "a.safetensors").write_bytes(files["a.safetensors"])
    (tmp_path / "m.sealed").mkdir()
    (tmp_path / "m.sealed" / "a.safetensors").write_bytes(files["a.safetensors"])
    for path in ("a.safetensors", "m.sealed", "m.sealed/a.safetensors"):
        with pytest.raises(DutchdoorError) as caught:
            safe_open(tmp_path / path, keys=keys_of(many))
        assert caught.value.code == "not_sealed"


def test_without_a_key_or_a_framework_nothing_opens(many: Sealed) -> None:
    for changes, code in (({"keys": None}, "no_key"), ({"framework": "jax"}, "bad_framework")):
        arguments: dict[str, Any] = {"keys": keys_of(many), **changes}
        with pytest.raises(Invalid) as caught:
            safe_open(many.path, **arguments)
        assert caught.value.code == code
    with pytest.raises(Invalid) as caught, many.open() as bundle:
        safe_open(bundle, "np").get_tensor("first")
    assert caught.value.code == "bad_dtype"


def test_the_room_itself_offers_it(many: Sealed) -> None:
    opened: Any = dutchdoor.weights.safe_open
    with opened(many.path, keys=keys_of(many)) as tensors:
        assert "wide" in tensors.keys()  # noqa: SIM118
    with pytest.raises(AttributeError):
        _ = dutchdoor.weights.pickle_load


def test_memory_is_used_again_only_once_nobody_looks_at_it(many: Sealed) -> None:
    pool = ArenaPool()
    options = ReadOptions(arenas=pool)
    with SealedBundle.open(many.path, many.key, TRUST, options=options) as bundle:
        first = load_file(bundle)
        kept = first["wide"]
        copy = kept.clone()
        second = load_file(bundle)
        places = {kept.data_ptr(), second["wide"].data_ptr()}
        assert len(places) == 2
        del first, kept, second
        third, fourth = load_file(bundle), load_file(bundle)
        assert {third["wide"].data_ptr(), fourth["wide"].data_ptr()} == places
        assert torch.equal(third["wide"].view(torch.uint8), copy.view(torch.uint8))
        with safe_open(bundle) as tensors:
            assert tensors.get_tensor("scale") == 1.0
        pool.clear()
        assert torch.equal(fourth["wide"].view(torch.uint8), copy.view(torch.uint8))


def test_a_module_is_filled_in_place(tmp_path: Path) -> None:
    torch.manual_seed(1)
    real = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4))
    values = {
        name: ("F32" if t.is_floating_point() else "I64", list(t.shape), t.numpy().tobytes())
        for name, t in real.state_dict().items()
    }
    sealed = seal(tmp_path, {"w.safetensors": safetensors(values), "config.json": b"{}"})
    with torch.device("meta"):
        empty = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4))
        larger = torch.nn.Sequential(*empty, torch.nn.Linear(4, 4))
        other = torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.BatchNorm1d(4))
        smaller = torch.nn.Sequential(torch.nn.Linear(8, 4))
    with sealed.open() as bundle:
        fill_module(empty, bundle)
        for module in (larger, other, smaller):
            with pytest.raises(Invalid) as caught:
                fill_module(module, bundle)
            assert caught.value.code == "bad_model"
    rows = torch.randn(3, 8)
    assert torch.equal(empty.eval()(rows), real.eval()(rows))
    pointers = sorted(p.data_ptr() for p in empty.state_dict().values())
    assert all(b - a < 4096 for a, b in itertools.pairwise(pointers)), "one memory, no copies"
