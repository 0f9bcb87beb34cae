"""list, show, validate and doctor."""

import json
import textwrap
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from bench.check import installation
from bench.cli import main
from bench.store import Store


def printed(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> Any:
    """Run a verb with --json and return what it printed."""
    assert main([*argv, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_list_shows_name_origin_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in printed(capsys, "list", "methods")}
    assert rows["ddspo"]["origin"] == "built-in"
    assert rows["ddspo"]["target"] == "methods.ddspo:DDSPO"
    assert all(row["summary"] for row in rows.values())


def test_list_backends_names_their_roles(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row["role"] for row in printed(capsys, "list", "backends")}
    assert rows["tiny-detector"] == ("detector (tiny, tiny-sd), detector_r50 (tiny, tiny-sd)")


def test_list_tables_has_table_1a(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in printed(capsys, "list", "tables")}
    assert rows["1a"]["columns"] == "GE, CB, FID, IS"


def test_show_method(capsys: pytest.CaptureFixture[str]) -> None:
    card = printed(capsys, "show", "method", "ddspo")
    assert card["needs"]["loser"] and card["needs"]["degraded"]
    assert "sdxl" in card["published for"]
    assert card["source"].endswith("methods/ddspo.py")
    assert {"field": "kappa", "type": "float", "default": "8000.0"} in card["fields"]
    assert main(["show", "method", "ddspo"]) == 0
    shown = capsys.readouterr().out
    assert card["description"].splitlines()[0] in shown
    assert "kappa" in shown


def test_show_evaluator(capsys: pytest.CaptureFixture[str]) -> None:
    card = printed(capsys, "show", "evaluator", "geneval")
    assert card["metrics"][0]["name"] == "overall"
    assert card["upstream"].startswith("djghosh13/geneval@")
    assert main(["show", "evaluator", "geneval"]) == 0
    assert "overall" in capsys.readouterr().out


def test_show_table(capsys: pytest.CaptureFixture[str]) -> None:
    card = printed(capsys, "show", "table", "1a")
    assert [row["key"] for row in card["rows"]][:3] == ["base", "diffusion-dpo", "ddspo"]
    claims = {claim["claim"]: claim for claim in card["claims"]}
    assert claims["ddspo beats diffusion-dpo in GE"]["planned"] == 3
    assert claims["base beats ddspo in FID"]["part of"] == "base best in FID"
    assert any("15.05" in fact["published"] for fact in card["facts"])
    assert {row["row"]: row["CB"] for row in card["published"]}["base"] == "0.3150 (quoted)"
    assert main(["show", "table", "1a"]) == 0
    text = capsys.readouterr().out
    assert "ddspo beats diffusion-dpo in GE" in text and max(map(len, text.splitlines())) <= 80
    card = printed(capsys, "show", "table", "2a")
    made = {row["key"]: row["made by"] for row in card["rows"]}
    assert made["diffusion-dpo"] == "diffusion-dpo on picks"
    assert made["diffusion-kto-public"] == "jacklishufan/diffusion-kto"


def test_validate_passes_a_good_method(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = printed(capsys, "validate", "diffusion-dpo")
    assert outcome["ok"] is True
    assert outcome["facts"]["loss_at_zero"] == pytest.approx(0.6931472)


def test_validate_says_what_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
        from dataclasses import dataclass
        from bench.api import Method

        @dataclass(frozen=True, kw_only=True)
        class Mean(Method):
            name = "mean"
            version = 1

            def link(self, delta):
                return delta.mean()
    """
    (tmp_path / "broken_plug_in.py").write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["validate", "broken_plug_in:Mean"]) == 2
    shown = capsys.readouterr().out
    assert "link returns a loss per pair\n  found:      a tensor of shape ()" in shown
    assert "to mend it: return the loss of each pair" in shown


@pytest.mark.parametrize("name", ["geneval", "t2i-compbench", "fid", "inception-score"])
def test_validate_passes_the_built_in_evaluators(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", name]) == 0, capsys.readouterr().out


def test_doctor_finds_nothing_wrong_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = printed(capsys, "doctor", "--store", str(tmp_path / "none"))
    assert report["problems"] == []
    assert report["torch"]["imports"] is True
    assert report["torchvision"]["imports"] is True
    assert report["store"] == {"folder": str(tmp_path / "none"), "exists": False}
    assert report["machine"]["free disk GB"] > 0


def test_doctor_hides_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:hf_secret@example.org/hub")
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "hf_secret" not in shown
    assert "https://...@example.org/hub" in shown


def test_doctor_names_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = installation.version

    def without_peft(name: str) -> str:
        if name == "peft":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(installation, "version", without_peft)
    report = printed(capsys, "doctor", code=3)
    assert report["problems"][0]["found"] == "not installed: peft"


def test_doctor_finds_damage_in_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)

    def make(work: Any) -> None:
        (work.path / "data.txt").write_text("abcdef")

    artifact = store.build("scores", "some", {"x": 1}, make)
    report = printed(capsys, "doctor", "--store", str(tmp_path), "--verify")
    assert report["store"]["artifacts"] == {"scores": 1}
    file = artifact.path / "data.txt"
    file.chmod(0o644)
    file.write_text("abc")
    report = printed(capsys, "doctor", "--store", str(tmp_path), code=1)
    assert "data.txt has 3 bytes instead of 6" in report["problems"][0]["found"]
    assert report["store"]["artifacts"] == {}
