"""Pictures that are changed while they are read: nothing is published that may be of both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import harness
from bench.data.curation.photographs import Photographs, PicturesChangedError
from bench.store import Store
from tests.cli.test_bad_input import on, shelf, train, write_pairs
from tests.curation.conftest import photos, picture, settings

__all__ = ["photos", "shelf"]


def test_labelled_pictures_changed_while_they_are_encoded(shelf: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", ["a red circle", "a blue circle"])
    picture, other = pairs / "0-good.png", (pairs / "1-bad.png").read_bytes()
    original, store = picture.read_bytes(), tmp_path / "store"
    swapped = []

    def swap(event: harness.Event) -> None:
        if event.kind == "progress" and event.step.kind == "pairs":
            picture.write_bytes(other)
            swapped.append(event.step.id)

    data = json.loads(on(pairs)[-1].removeprefix("data.mine="))
    with pytest.raises(harness.FailedError, match="was changed since the command began"):
        harness.train(
            "diffusion-dpo",
            str(shelf / "micro.yaml"),
            data="mine",
            overrides=[f"data.mine={json.dumps(data)}"],
            store=store,
            jobs=1,
            on_event=swap,
        )
    assert swapped and not list(store.glob("pairs/*/manifest.json"))
    assert not list(store.glob("pairs/*.partial"))
    picture.write_bytes(original)
    assert train(shelf, store, *on(pairs)) == 0
    assert (store / swapped[0] / "manifest.json").is_file()


def test_photographs_changed_while_a_curation_reads_them(photos: Path, tmp_path: Path) -> None:
    store, file = Store(tmp_path / "store"), photos / "0001.png"
    original, chosen = file.read_bytes(), settings(photos, tmp_path / "unused")

    def swap(_step: str, done: int, _total: int) -> None:
        if done == 1:
            picture(99).save(file)

    with pytest.raises(PicturesChangedError, match="were changed while they were read"):
        Photographs(store, chosen).run(progress=swap)
    assert not list(store.root.glob("curation/*"))
    file.write_bytes(original)
    assert Photographs(store, chosen).run().fault() is None
