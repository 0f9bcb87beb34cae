"""What plug-ins read is the same in all attempts at an artifact, or nothing is published."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.api.errors import BenchError
from bench.api.files import stamp
from bench.api.observed import Observed
from bench.store import Store
from bench.store.work import Work

IDENTITY = {"what": "reads"}


def write(work: Work) -> None:
    work.write_json("value.json", 1)


def attempt(store: Store, observed: Observed, make: Callable[[Work], None] = write) -> None:
    store.observing(observed, ()).build("scores", "a", IDENTITY, make)


@pytest.mark.parametrize("changes", ["a variable", "a file"])
def test_an_attempt_is_not_continued_under_other_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: str
) -> None:
    store, file = Store(tmp_path / "store"), tmp_path / "data"
    file.write_text("1")
    monkeypatch.setenv("READ_IN_TEST", "1")

    def breaks(work: Work) -> None:
        work.write_json("half.json", 1)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        attempt(store, Observed(), breaks)
    if changes == "a file":
        file.write_text("2")
    else:
        monkeypatch.setenv("READ_IN_TEST", "2")
    observed = Observed(
        files={str(file): stamp(file)}, variables={"READ_IN_TEST": os.environ["READ_IN_TEST"]}
    )
    with pytest.raises(BenchError, match="an earlier attempt at this began"):
        attempt(store, observed)
    assert not list((tmp_path / "store").rglob("*.partial"))
    attempt(store, observed)
    (made,) = store.artifacts("scores")
    assert set(made.files) == {"value.json"} and list(made.manifest["observed"]["files"])


def test_an_attempt_is_continued_where_nothing_that_was_read_has_changed(tmp_path: Path) -> None:
    store, file = Store(tmp_path / "store"), tmp_path / "data"
    file.write_text("1")
    observed = Observed(files={str(file): stamp(file)}, variables={"NOT_SET_IN_TEST": None})

    def breaks(work: Work) -> None:
        work.write_json("half.json", 1)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        attempt(store, observed, breaks)
    attempt(store, observed)
    (made,) = store.artifacts("scores")
    assert made.manifest["resumed"] and set(made.files) == {"half.json", "value.json"}


def test_secrets_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-1")
    monkeypatch.setenv("SCALE", "2")
    observed = Observed(variables={"MY_API_KEY": "sk-1", "SCALE": "2"})
    attempt(Store(tmp_path / "store"), observed)
    (made,) = Store(tmp_path / "store").artifacts("scores")
    assert set(made.manifest["observed"]["environment"]) == {"SCALE"}


def test_artifacts_that_were_made_anew_between_two_attempts_are_no_surroundings(
    tmp_path: Path,
) -> None:
    """What a plug-in reads of the store is in its upstream, by content."""
    store = Store(tmp_path / "store")
    image = store.root / "images" / "a-0123456789ab" / "0.png"

    def breaks(work: Work) -> None:
        work.write_json("half.json", 1)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        attempt(store, Observed(), breaks)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"made anew")
    attempt(store, Observed(files={str(image): stamp(image)}))
    (made,) = store.artifacts("scores")
    assert made.manifest["resumed"] and "observed" not in made.manifest
