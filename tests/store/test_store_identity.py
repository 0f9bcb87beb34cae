import enum
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.api.errors import UsageError
from bench.store import artifact_id, canonical_json, diff_identity, folder_name, identity_hash


@dataclass(frozen=True, kw_only=True)
class Config:
    lr: float = 1e-5
    data: Path = Path("a/b")
    betas: tuple[float, float] = (0.9, 0.999)


class Mode(enum.Enum):
    LORA = "lora"


IDENTITY = {"b": 2, "a": [1.5, None, True, "π"], "nested": {"x": 1e-05}}


def test_canonical_text_and_hash_are_pinned() -> None:
    text = (
        '{"identity":{"a":[1.5,null,true,"\\u03c0"],"b":2,"nested":{"x":1e-05}},'
        '"kind":"pairs","name":"p"}'
    )
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert expected == "b44c7aa0268e553c8f9b7785b9ff325f4d665ddee581eaa73945ff44f7f3bb6a"
    assert identity_hash("pairs", "p", IDENTITY) == expected
    assert folder_name("pairs", "p", IDENTITY) == f"p-{expected[:12]}"
    assert artifact_id("pairs", "p", IDENTITY) == f"pairs/p-{expected[:12]}"


def test_order_of_keys_does_not_matter_but_order_of_lists_does() -> None:
    shuffled = {"nested": {"x": 1e-05}, "a": [1.5, None, True, "π"], "b": 2}
    assert identity_hash("pairs", "p", shuffled) == identity_hash("pairs", "p", IDENTITY)
    assert canonical_json([1, 2]) != canonical_json([2, 1])


@pytest.mark.parametrize(
    ("a", "b"), [(1, 1.0), (0.0, -0.0), (True, 1), ("1", 1), (0.1 + 0.2, 0.3), ([], {})]
)
def test_values_that_look_alike_differ(a: object, b: object) -> None:
    assert canonical_json({"k": a}) != canonical_json({"k": b})


def test_kind_and_name_are_part_of_the_hash() -> None:
    hashes = {identity_hash(*pair, {}) for pair in (("a", "b"), ("b", "a"), ("a", "c"))}
    assert len(hashes) == 3


def test_dataclass_path_tuple_enum_and_numpy_scalars_have_one_form() -> None:
    expected = '{"betas":[0.9,0.999],"data":"a/b","lr":1e-05}'
    assert canonical_json(Config()) == expected
    assert canonical_json({"m": Mode.LORA, "n": np.int64(3), "x": np.float64(0.1)}) == (
        '{"m":"lora","n":3,"x":0.1}'
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_nan_and_infinity_are_refused_naming_the_key(bad: float) -> None:
    with pytest.raises(UsageError, match=r"optimiser\.lr\[1\] is"):
        canonical_json({"optimiser": {"lr": [1.0, bad]}})


@pytest.mark.parametrize("bad", [{1: 2}, {"k": {1, 2}}, {"k": b"x"}, {"k": object()}])
def test_values_without_a_canonical_form_are_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="expected text"):
        canonical_json(bad)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "x" * 200])
def test_names_that_could_not_name_a_folder_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        artifact_id("pairs", name, {})


def test_difference_is_readable() -> None:
    old = {"lr": 1e-5, "steps": 3, "same": 1, "data": {"sha": "a" * 64, "gone": 1}, "seeds": [0, 1]}
    new = {"lr": 2e-5, "steps": 3.0, "same": 1, "data": {"sha": "b" * 64}, "seeds": [0]}
    assert diff_identity(old, new) == [
        "data.gone: 1 -> (absent)",
        "data.sha: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "lr: 1e-5 -> 2e-5",
        "seeds[1]: 1 -> (absent)",
        "steps: 3 -> 3.0",
    ]
    assert diff_identity(old, dict(reversed(old.items()))) == []


def test_difference_of_a_source_hash_says_what_happened() -> None:
    lines = diff_identity({"m": {"source_sha256": "a" * 64}}, {"m": {"source_sha256": "b" * 64}})
    assert lines == ["m.source_sha256: aaaaaaaaaaaa -> bbbbbbbbbbbb (a source definition changed)"]


def test_two_identities_differ_exactly_when_the_difference_is_not_empty() -> None:
    values = [1, 1.0, True, None, "1", [], {}, [1], {"a": 1}, 0.0, -0.0, [1.0], "", [[]], {"a": []}]
    for a in values:
        for b in values:
            same_hash = identity_hash("k", "n", {"v": a}) == identity_hash("k", "n", {"v": b})
            assert same_hash == (diff_identity({"v": a}, {"v": b}) == []), (a, b)
