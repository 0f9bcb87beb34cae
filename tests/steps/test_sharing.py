"""Tables share what is made alike: an artifact is named after its content, never after a row."""

from __future__ import annotations

from pathlib import Path

from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.steps.images import ImageStep
from bench.steps.training import TrainingStep
from bench.store import Store
from bench.store.identity import canonical_json


def test_two_tables_sample_and_train_nothing_twice(tmp_path: Path) -> None:
    """Equal content, equal id: what a table made is there for every other one."""
    store = Store(tmp_path)
    ids: dict[str, set[str]] = {}
    tables: dict[str, set[str]] = {}
    for table in ("1a", "2a", "3a", "3b", "methods"):
        request = make_request(table, "tiny", protocol="test", limit=24)
        for step in build_graph(request, store).graph:
            if isinstance(step, ImageStep | TrainingStep):
                ids.setdefault(canonical_json(step.identity), set()).add(step.id)
                tables.setdefault(step.id, set()).add(table)
    twice = {key: found for key, found in ids.items() if len(found) > 1}
    assert not twice
    assert len([key for key, found in tables.items() if {"3a", "3b"} <= found]) >= 4


def test_a_profiles_name_and_place_are_no_part_of_an_id(tmp_path: Path) -> None:
    """A profile copied to another file under another name asks for the same artifacts."""
    from bench.spec.profile import FOLDER

    copy = tmp_path / "elsewhere" / "mine.yaml"
    copy.parent.mkdir()
    copy.write_text((FOLDER / "tiny.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    store = Store(tmp_path / "store")
    ours, theirs = (
        {step.id for step in build_graph(make_request("1a", profile, limit=12), store).graph}
        for profile in ("tiny", str(copy))
    )
    assert ours == theirs
