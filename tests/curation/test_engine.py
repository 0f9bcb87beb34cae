"""Steps resume after any image, and know when a file was damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.data.curation.engine import LEDGER, Row, Step, Verdict, records, run_step
from bench.store import Store, Work

UIDS = ["a", "b", "c", "d"]


class Measured:
    """Writes a file per image and counts its calls; stops before the image `stop_at`."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.stop_at = stop_at
        self.made: list[str] = []

    def __call__(self, work: Work, uids: Sequence[str], missing: frozenset[str]) -> Iterator[Row]:
        for uid in uids:
            if uid not in missing:
                continue
            if uid == self.stop_at:
                raise KeyboardInterrupt
            work.write_bytes(f"{uid}.bin", uid.encode())
            self.made.append(uid)
            yield {"uid": uid, "value": ord(uid), "files": [f"{uid}.bin"]}


def decide(rows: Sequence[Row]) -> Verdict:
    mean = sum(row["value"] for row in rows) / len(rows)
    return Verdict(
        reasons={row["uid"]: "low: x" for row in rows if row["value"] < mean},
        summary={"mean": mean},
    )


def test_a_killed_step_goes_on_where_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    step = Step(run="r", name="s", identity={"version": 1})
    first = Measured(stop_at="c")
    with pytest.raises(KeyboardInterrupt):
        run_step(store, step, lambda: UIDS, first, decide)
    partial = next(tmp_path.glob("curation/*.partial"))
    with (partial / LEDGER).open("ab") as file:
        file.write(b'{"row": {"uid": "c"')  # a torn line
    (partial / "a.bin").write_bytes(b"damaged")
    second = Measured()
    artifact = run_step(store, step, lambda: UIDS, second, decide)
    assert (first.made, second.made) == (["a", "b"], ["a", "c", "d"])
    assert [row["kept"] for row in records(artifact)] == [False, False, True, True]
    assert LEDGER not in artifact.files and artifact.file("a.bin").read_bytes() == b"a"
    whole = run_step(Store(tmp_path / "other"), step, lambda: UIDS, Measured(), decide)
    assert whole.content_sha256 == artifact.content_sha256
    third = Measured()
    assert run_step(store, step, lambda: UIDS, third, decide).id == artifact.id
    assert third.made == []


def test_a_measured_number_changed_in_the_ledger_is_measured_again(tmp_path: Path) -> None:
    store, step = Store(tmp_path), Step(run="r", name="s", identity={"version": 1})
    with pytest.raises(KeyboardInterrupt):
        run_step(store, step, lambda: UIDS, Measured(stop_at="c"), decide)
    ledger = next(tmp_path.glob("curation/*.partial")) / LEDGER
    text = ledger.read_text()
    assert '"value":97' in text
    ledger.write_text(text.replace('"value":97', '"value":99'))
    second = Measured()
    artifact = run_step(store, step, lambda: UIDS, second, decide)
    assert second.made == ["a", "c", "d"]
    assert [row["value"] for row in records(artifact)] == [ord(uid) for uid in UIDS]


def test_a_step_of_nothing_is_a_step(tmp_path: Path) -> None:
    step = Step(run="r", name="s", identity={})
    artifact = run_step(Store(tmp_path), step, lambda: [], Measured(), lambda rows: Verdict())
    assert records(artifact) == []
    assert artifact.read_json("summary.json") == {"entered": 0, "kept": 0}
