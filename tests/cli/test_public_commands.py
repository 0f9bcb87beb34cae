"""Public invocations and their exit codes: a change of shape must keep them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from bench.cli import main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LINES = [
    line
    for line in (HERE / "public_commands.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", LINES)
def test_public_command(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is the committed one, and a refusal says why in words."""
    code, _, text = line.partition(" ")
    monkeypatch.chdir(ROOT)
    found = main(shlex.split(text.replace("$STORE", str(tmp_path / "store"))))
    out, err = capsys.readouterr()
    assert found == int(code), err
    assert "Traceback" not in err
    if found == 0:
        assert out.strip()
    else:
        assert "bench: error: " in err or out.strip(), "a refusal says why"
