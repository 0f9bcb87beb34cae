"""Streams that are closed, full or of another encoding, and settings that mean nothing: one line
and an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main


def bench(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `bench` is this project's; its streams are the test's matter."""
    return subprocess.run(
        ["bash", "-c", command.replace("bench", f"{sys.executable} -m bench")],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device")
def test_a_full_standard_output_is_told() -> None:
    done = bench("bench list suites > /dev/full")
    assert done.returncode == 1
    assert "standard output cannot be written: No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&-", 0),
        ("--wrong 2>&-", 2),
        ("--wrong 2>/dev/full", 2),
        ("--wrong >&-", 2),
        ("| head -n 1; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_closed_streams_change_no_exit_code(streams: str, code: int) -> None:
    done = bench(f"bench list suites {streams}")
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert "2>" not in streams or not code or not done.stdout  # no message goes astray


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16"])
def test_a_terminal_of_another_encoding(encoding: str) -> None:
    for words in ("list tables", "show table 1a"):
        done = subprocess.run(
            [sys.executable, "-m", "bench", *words.split()],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "bench", "show", "table", "1a", "--json"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert json.loads(done.stdout.decode(encoding))


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("generation.steps=2.5", "whole number"),
        ("generation.steps=.inf", "whole number"),
        ("generation.steps=.nan", "expected a number"),
        ("generation.steps=true", "whole number"),
        ("generation.steps='2'", "whole number"),
        ("generation.steps=[2]", "whole number"),
        ("generation.steps=0", "above 0"),
        ("generation.steps=&a [*a]", "circle"),
        ("generation.steps=" + "[" * 5000, "brackets"),
        ('title="\\ud83d"', "half of a character"),
        ("generation.steps=!!python/name:os.system ''", "not valid YAML"),
        ("generation.steps=\x07", "not valid YAML"),
        ("generation.steps=\udce9", "not valid YAML"),
    ],
)
def test_settings_that_mean_nothing(
    setting: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "two.txt"
    prompts.write_text("a red circle\n")
    words = ["--prompts", str(prompts), "--store", str(tmp_path / "store"), "--set", setting]
    assert main(["generate", *words]) == 2
    told = capsys.readouterr().err
    assert hint in told and "Traceback" not in told
    told.encode()


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"title: caf\xe9\n", "line 1: byte 10 (0xe9)"),
        (b"\xff\xfet\0", "expected a mapping"),
        (b"", "expected a mapping"),
        (b"\0\0", "NUL"),
        (b"[1, 2]", "expected a mapping"),
        (b"generation: {steps: 2.5}\nextends: tiny\n", "whole number"),
    ],
)
def test_profiles_that_are_none(
    data: bytes, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "mine.yaml"
    profile.write_bytes(data)
    assert main(["plan", "--table", "1a", "--profile", str(profile)]) == 2
    told = capsys.readouterr().err
    assert hint in told and "mine" in told and "Traceback" not in told


@pytest.mark.parametrize(
    "name", ["caf\udce9.yaml", "\ud800.yaml", "a\0b.yaml", "x" * 5000 + ".yaml"]
)
def test_names_that_are_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["plan", "--profile", name],
        ["plan", "--table", name],
        ["generate", "--prompts", name],
        ["score", "--images", name],
        ["generate", "--checkpoint", f"./{name}"],
        ["curate", "--images", name],
    ):
        assert main(words) in (1, 2, 3), words
        told = capsys.readouterr().err
        assert "Traceback" not in told
        assert told.startswith("bench: error: ") or "\nbench: error: " in told
