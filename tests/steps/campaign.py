"""Corruptions of a micro table's store, one at a time, and what became of them.

A corruption is *mended* where the next run leaves every byte as it was without it, *noticed* where
a verb says so or refuses, and *silent* otherwise: damage kept without a word, or another number
printed by a verb that ended well.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from bench.cli import main
from bench.store import MANIFEST, Disk
from tests.steps.micro import forked, table_arguments
from tests.steps.toys import save_checkpoint, write_profile

PART = ("--rows", "base,ddspo", "--cols", "GE,FID", "-q")
COMMITTED = "committed"
UNFINISHED = ("pairs", "train", "images", "predictions", "scores")
KINDS = (*UNFINISHED, "exports", "manifests", "tables", COMMITTED)
_TEXT = (".json", ".jsonl", ".csv", ".md", ".tex", ".html", ".txt")
_OF_A_RUN = re.compile(rb'"(samples_per_second|peak_memory_mb)": [-+.0-9e]+')


def bench(*words: str) -> tuple[int, str, str]:
    """Run a verb in this process; return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()


def content_of(store: Path) -> dict[str, bytes]:
    """Return every stored byte that two equal runs have in common, by name.

    Left out are the manifests of artifacts, which hold times (their hashes are checked by
    `doctor --verify`), and speed and memory in a training's log.
    """
    found = {}
    for file in store.rglob("*"):
        name = file.relative_to(store).as_posix()
        of_artifact = name.endswith(MANIFEST) and not name.startswith(("tables", COMMITTED))
        if file.is_file() and not of_artifact and ".lock" not in name:
            data = file.read_bytes()
            found[name] = _OF_A_RUN.sub(b"", data) if name.endswith("metrics.jsonl") else data
    return found


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """What trials start from.

    Attributes:
        profile: of the micro table.
        stores: a finished store under `""`, and one by kind that was killed when all was made of
            its first artifact of that kind, parts that are scratch among it, and nothing published.
        expected: content of the finished store.
        table, report: what `run` and `report` print of it.
    """

    profile: Path
    stores: Mapping[str, Path]
    expected: Mapping[str, bytes]
    table: str
    report: str

    def run(self, store: Path) -> tuple[int, str, str]:
        return bench(*table_arguments(self.profile, store, *PART))

    def reported(self, store: Path) -> tuple[int, str, str]:
        return bench("report", "--table", "1a", "--from", str(store / COMMITTED), "-q")

    def doctor(self, store: Path) -> tuple[int, str, str]:
        words = ("--store", str(store), "--results", str(store / COMMITTED), "--verify")
        return bench("doctor", *words)


def begin(folder: Path, unfinished: tuple[str, ...] = UNFINISHED) -> Campaign:
    """Make the stores that trials are copies of."""
    profile = write_profile(folder, save_checkpoint(folder / "checkpoint"))
    whole = folder / "whole"
    code, table, _ = bench(*table_arguments(profile, whole, *PART))
    assert code == 0
    words = ("--store", str(whole), "--publish", str(whole / COMMITTED), "-q")
    code, report, _ = bench("report", "--table", "1a", *words)
    assert code == 0
    stores = {"": whole}
    for kind in unfinished:
        stores[kind] = folder / f"unfinished-{kind}"
        _killed_before_the_first(kind, profile, stores[kind], folder / "log")
        shutil.copytree(whole / COMMITTED, stores[kind] / COMMITTED)
    return Campaign(
        profile=profile, stores=stores, expected=content_of(whole), table=table, report=report
    )


def _killed_before_the_first(kind: str, profile: Path, store: Path, log: Path) -> None:
    before = Disk.before

    def die(self: Disk, operation: str, path: Path) -> None:
        inside = f"/{kind}/" in path.as_posix() and ".partial/" in path.as_posix()
        scratch = operation == "unlink" and path.suffix == ".safetensors"
        if inside and (scratch or (operation == "write_bytes" and MANIFEST in path.name)):
            os.kill(os.getpid(), signal.SIGKILL)

    Disk.before = die  # type: ignore[method-assign]
    try:
        pid = forked(table_arguments(profile, store, *PART), log)
    finally:
        Disk.before = before  # type: ignore[method-assign]
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, log.read_text()
    assert list(store.glob(f"{kind}/*.partial"))


def _flip(file: Path, dice: random.Random) -> str:
    data = bytearray(file.read_bytes())
    place, bit = dice.randrange(len(data)), dice.randrange(8)
    data[place] ^= 1 << bit
    file.write_bytes(bytes(data))
    return f"bit {bit} of byte {place} flipped"


def _truncate(file: Path, dice: random.Random) -> str:
    size = file.stat().st_size
    left = dice.randrange(size)
    os.truncate(file, left)
    return f"cut from {size} to {left} bytes"


def _digit(file: Path, dice: random.Random) -> str:
    data = bytearray(file.read_bytes())
    digits = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    if file.suffix not in _TEXT or not digits:
        return _flip(file, dice)
    place = dice.choice(digits)
    before = chr(data[place])
    data[place] = ord(dice.choice([d for d in "0123456789" if d != before]))
    file.write_bytes(bytes(data))
    return f"digit at {place} changed from {before} to {chr(data[place])}"


def _delete(file: Path, dice: random.Random) -> str:
    file.unlink()
    return "deleted"


def _quietly(file: Path, dice: random.Random) -> str:
    times = file.stat()
    said = _digit(file, dice)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    return f"{said}, size and time kept"


HARMS: Mapping[str, Callable[[Path, random.Random], str]] = {
    "flip": _flip,
    "truncate": _truncate,
    "digit": _digit,
    "delete": _delete,
    "quiet": _quietly,
}


def _swap(file: Path, candidates: list[Path], dice: random.Random) -> str:
    """Exchange a file with another of its name, or at least of its type, that differs."""
    others = [f for f in candidates if f.suffix == file.suffix and f != file]
    others = [f for f in others if f.read_bytes() != file.read_bytes()]
    alike = [f for f in others if f.name == file.name] or others
    if not alike:
        return _flip(file, dice)
    other = dice.choice(alike)
    one, two = file.read_bytes(), other.read_bytes()
    file.write_bytes(two)
    other.write_bytes(one)
    return f"exchanged with {other.parent.name}/{other.name}"


def _files_of(store: Path, kind: str) -> list[Path]:
    files = sorted(f for f in store.rglob("*") if f.is_file() and f.stat().st_size > 0)
    named = {f: f.relative_to(store).as_posix() for f in files}
    if kind == "exports":
        return [f for f, name in named.items() if "/exports/" in name]
    if kind == "manifests":
        return [f for f, name in named.items() if f.name == MANIFEST]
    return [f for f, name in named.items() if name.startswith(f"{kind}/") and f.name != MANIFEST]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One corruption: where, what was done, the word for what became of it, and why."""

    where: str
    harm: str
    word: str
    why: str

    def __str__(self) -> str:
        return f"{self.word}: {self.where}: {self.harm}" + (f" ({self.why})" if self.why else "")


def trial(campaign: Campaign, folder: Path, seed: int, number: int) -> Outcome:
    """Corrupt a copy of a store, run all verbs on it, and judge; the copy is removed."""
    dice = random.Random(f"{seed}/{number}")
    states = sorted(campaign.stores)
    # one in two begins from an unfinished store
    state = "" if number % 2 else states[1 + number // 2 % (len(states) - 1)]
    store = folder / f"trial-{number}"
    shutil.copytree(campaign.stores[state], store, copy_function=shutil.copy2)
    if state:
        files = [f for f in sorted(store.rglob("*")) if ".partial/" in f.as_posix() and f.is_file()]
        files = [f for f in files if f.stat().st_size > 0]
    else:
        files = _files_of(store, KINDS[number // 2 % len(KINDS)])
    file = dice.choice(files)
    harm = dice.choice([*HARMS, "swap"])
    where = f"{f'unfinished {state}, ' if state else ''}{file.relative_to(store)}"
    done = _swap(file, files, dice) if harm == "swap" else HARMS[harm](file, dice)
    word, why = _judged(campaign, store)
    shutil.rmtree(store)
    return Outcome(where=where, harm=done, word=word, why=why)


def _judged(campaign: Campaign, store: Path) -> tuple[str, str]:
    words = []
    code, out, err = campaign.run(store)
    if code == 0 and out != campaign.table:
        return "silent", "run ended well with other numbers"
    if code != 0:
        words.append(f"run: {_line(err)}")
        code, out, err = campaign.run(store)
        if code != 0 or out != campaign.table:
            return "stuck", f"the same command again does not help: {_line(err)}"
    code, out, err = campaign.reported(store)
    if code == 0 and out != campaign.report:
        return "silent", "report ended well with other numbers"
    if code != 0 or err:
        words.append(f"report: {_line(err)}")
    code, out, _ = campaign.doctor(store)
    if code != 0:
        words.append(f"doctor: {_line(out.partition('problems')[2])}")
        return "noticed", words[0]
    left = _unlike(campaign, store)
    if left and not words:
        return "silent", f"kept: {left}"
    return ("noticed", words[0]) if left else ("mended", "")


def _unlike(campaign: Campaign, store: Path) -> str:
    """Name a file that is not as in the finished store; empty where there is none."""
    found = content_of(store)
    names = [n for n in {**found, **campaign.expected} if found.get(n) != campaign.expected.get(n)]
    return sorted(names)[0] if names else ""


def _line(text: str) -> str:
    """Return the first line that speaks of damage, or else the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "%|" not in line]
    said = [line for line in lines if re.search("damaged|corrupt|error|failed", line)]
    return (said or lines or [""])[0][-200:]


def trials(campaign: Campaign, folder: Path, seed: int, count: int) -> Iterator[Outcome]:
    """Yield the outcomes of `count` trials, printing each."""
    print(f"campaign of {count} corruptions, seed {seed}", file=sys.stderr)
    for number in range(count):
        outcome = trial(campaign, folder, seed, number)
        print(f"{number}: {outcome}", file=sys.stderr, flush=True)
        yield outcome


def summary(outcomes: list[Outcome]) -> str:
    """Return the counts as JSON."""
    words = [outcome.word for outcome in outcomes]
    return json.dumps({word: words.count(word) for word in sorted(set(words))})
