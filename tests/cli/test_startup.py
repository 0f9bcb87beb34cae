"""What each verb must not import: a verb that only looks starts in a fraction of a second."""

from __future__ import annotations

import subprocess
import sys

import pytest

NUMBERS = ("torch", "scipy", "PIL", "pyarrow.compute", "pyarrow.dataset", "pandas", "matplotlib")
ROOMS = ("bench.steps", "bench.store", "bench.report", "bench.executors", "bench.tiny")
NOTHING_READ = (
    *NUMBERS,
    *ROOMS,
    "numpy",
    "pyarrow",
    "yaml",
    "tabulate",
    "bench.spec",
    "evaluators",
)
PLUG_INS = ("evaluators.geneval.metric", "evaluators.models.clip", "methods.ddspo")
NAMES_ALONE = (*NUMBERS, *ROOMS, *PLUG_INS, "numpy", "pyarrow")
UNWANTED = {
    "--help": NOTHING_READ,
    "run --help": NOTHING_READ,
    "plan --help": NOTHING_READ,
    "report --help": NOTHING_READ,
    "list methods": NAMES_ALONE,
    "list evaluators": NAMES_ALONE,
    "list backends": NAMES_ALONE,
    "list tables": NAMES_ALONE,
    "plan --table fig2": (*NUMBERS, "bench.report", "tabulate", "pyarrow"),
    "report --table 1a --from results": (*NUMBERS, "bench.steps", "bench.executors", "tabulate"),
}


@pytest.mark.parametrize("command", UNWANTED)
def test_a_verb_imports_only_what_it_needs(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "bench", *command.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert "bench.cli" in imported
    wrong = {
        name
        for name in imported
        for part in UNWANTED[command]
        if name == part or name.startswith(f"{part}.")
    }
    assert not wrong, f"bench {command}: import these where they are used: {sorted(wrong)}"
