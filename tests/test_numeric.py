"""What `make test-cpus` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import processors
from tests.conftest import NUMERIC


def test_every_numeric_file_is_there(request: pytest.FixtureRequest) -> None:
    root = Path(__file__).parent
    missing = [name for name in NUMERIC if not (root / name).exists()]
    assert not missing, f"moved or removed; mend NUMERIC in tests/conftest.py: {missing}"
    assert "numeric" not in request.node.keywords


def test_a_setting_that_fails_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """pytest is run for each setting and thread count; its exit code counts."""
    words = ["--only", "as it is", "tests/toy/test_metrics.py", "-k", "no_such_test"]
    monkeypatch.setattr("sys.argv", ["processors", *words])
    assert processors.main() == 1  # pytest collected nothing
    out = capfd.readouterr().out
    assert "FAILED" in out and "as it is, threads 1" in out and "as it is, threads 2" in out
