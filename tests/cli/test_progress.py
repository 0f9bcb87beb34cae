import io

import pytest

from bench.cli import _progress
from bench.cli._progress import Progress, duration, size
from bench.executors.outcome import Tally
from tests.steps.toynodes import node


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (9000, "2.5 h"), (-1, "0 s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_sizes() -> None:
    assert [size(n) for n in (1500, 2_500_000, 7_100_000_000)] == ["2 kB", "2.5 MB", "7.1 GB"]


def events(progress: Progress) -> None:
    """Two steps of 10 estimated seconds: the first is made, the second fails."""
    a, b = node("a"), node("b")
    tally = Tally({a.id: 10.0, b.id: 10.0}, jobs=1, listener=progress)
    tally.tell("started", a)
    tally.tell("progress", a, seconds=1.0, done=1, total=2)
    tally.tell("done", a, seconds=2.0)
    tally.tell("failed", b, seconds=2.0, message="no luck")


def test_elsewhere_than_in_a_terminal_there_are_plain_lines_only() -> None:
    stream = io.StringIO()
    events(Progress(quiet=False, stream=stream))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("[1/2] a (2 s), about ") and lines[0].endswith("to go")
    assert lines[1] == "FAILED b: no luck"
    assert "\r" not in stream.getvalue()


def test_a_terminal_has_one_status_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_progress, "BARS_WANTED", True)
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    events(Progress(quiet=False, stream=stream))
    drawn = stream.getvalue().split("\r\x1b[2K")
    assert any(part.startswith("[0/2] a") for part in drawn)
    assert max(len(part.split("\n")[0]) for part in drawn) <= 60


def test_quiet_says_failures_only() -> None:
    stream = io.StringIO()
    events(Progress(quiet=True, stream=stream))
    assert stream.getvalue() == "FAILED b: no luck\n"
