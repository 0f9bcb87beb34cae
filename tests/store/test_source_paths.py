"""Files that a plug-in names by a path out of its own folder."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from bench.store import SourceChangedError, require_unchanged, source_of


@pytest.mark.parametrize("spelling", ["{folder}/data/cal.txt", "~/data/cal.txt", "../data/cal.txt"])
def test_a_file_named_by_a_path_out_of_the_folder_is_hashed(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("plug", "data"):
        (tmp_path / name).mkdir()
    data = tmp_path / "data" / "cal.txt"
    data.write_text("1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "plug")
    text = spelling.format(folder=tmp_path)
    (tmp_path / "plug" / "reads_elsewhere.py").write_text(
        f"class Own:\n    def scale(self):\n        return open({text!r}).read()\n"
    )
    importlib.invalidate_caches()
    try:
        cls = importlib.import_module("reads_elsewhere").Own
        before = source_of(cls)
        require_unchanged(before)
        data.write_text("10")
        assert source_of(cls).sha256 != before.sha256
        with pytest.raises(SourceChangedError, match=r"cal\.txt"):
            require_unchanged(before)
    finally:
        sys.modules.pop("reads_elsewhere", None)
