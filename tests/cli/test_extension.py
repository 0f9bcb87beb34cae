"""Tables, profiles and rows of the user's own, by the command line; and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main
from tests.api.test_registry import distribution, write

_COLUMN = (
    "{key: GE, label: GenEval, evaluator: geneval, metric: overall, higher_is_better: true, "
    "decimals: 2}"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(folder: Path, name: str = "mine.yaml", column: str = _COLUMN, rows: str = "") -> Path:
    file = folder / name
    file.write_text(
        "title: mine\nsource: this test\nrows:\n  - {key: base, label: base, checkpoint: base}\n"
        f"{rows}columns:\n  - {column}\n"
    )
    return file


def plan(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """The outcome of `bench plan` of four prompts: JSON, or what was said of a refusal."""
    assert main(["plan", "--store", "store", "--limit", "6", "--json", *words]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else " ".join(err.split())


def artifacts(text: str) -> set[str]:
    return {step["id"] for step in json.loads(text)["steps"]}


def test_a_table_by_its_path_is_planned_and_shown(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "elsewhere").mkdir()
    file = table(here / "elsewhere")
    found = json.loads(plan(capsys, "--table", str(file)))
    assert found["table"] == "mine"
    assert main(["show", "table", str(file)]) == 0
    assert "geneval overall" in capsys.readouterr().out
    assert main(["report", "--table", str(file), "--store", "store"]) == 2
    assert "mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            _COLUMN.replace("overall", "overal"),
            "mine.yaml:6: evaluator geneval has no metric 'overal'",
        ),
        (_COLUMN.replace("true", "false"), "mine.yaml:6: column GE says higher_is_better: false"),
        (_COLUMN.replace("label", "labl"), "unknown key 'labl' (mine.yaml:6)"),
        (_COLUMN.replace("geneval", "os:system"), "names 'os:system' (mine.yaml:6)"),
    ],
)
def test_a_wrong_column_names_file_and_line(
    column: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(here, column=column)
    assert said in plan(capsys, "--table", "mine.yaml", code=2)


def test_two_rows_of_one_label_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(here, rows="  - {key: other, label: base, checkpoint: base}\n")
    assert "mine.yaml: table mine: two rows have the label 'base'" in plan(
        capsys, "--table", "mine.yaml", code=2
    )
    twice = ["--row", "My LoRA=tiny-sd", "--row", "my lora=tiny-sd-noisy"]
    said = plan(capsys, "--table", "1a", *twice, code=2)
    assert "--row 'my lora' is named 'my-lora', and table 1a has a row of that name" in said
    assert "expected LABEL=WEIGHTS" in plan(capsys, "--table", "1a", "--row", "mine", code=2)
    assert "there is no table absent.yaml" in plan(capsys, "--table", "absent.yaml", code=2)


def test_a_profile_extends_another_and_asks_for_the_same_where_it_says_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "deep").mkdir()
    (here / "deep" / "parent.yaml").write_text("extends: tiny\n")
    (here / "mine.yaml").write_text("extends: deep/parent.yaml\ntitle: mine\n")
    for name in ("1a", "2a"):  # 2a says of tiny which metric a column has
        asked = [
            artifacts(plan(capsys, "--table", name, "--profile", profile))
            for profile in ("tiny", "mine.yaml")
        ]
        assert asked[0] == asked[1]
    (here / "mine.yaml").write_text(
        "extends: deep/parent.yaml\ntraining: {common: {steps: 61}}\ngeneration: {steps: 7}\n"
    )
    changed = artifacts(plan(capsys, "--table", "1a", "--profile", "mine.yaml"))
    assert changed.isdisjoint({key for key in asked[0] if not key.startswith("pairs/")})


def test_what_a_table_says_of_a_profile_lies_beneath_what_extends_it(here: Path) -> None:
    from bench.spec.request import make_request

    file = table(here)
    file.write_text(
        file.read_text() + "profiles: {tiny: {settings: {sampling_seed: 5, noise: per-seed}}}\n"
    )
    (here / "child.yaml").write_text("extends: tiny\nsampling_seed: 7\n")
    profile = make_request("mine.yaml", "child.yaml").profile
    assert (profile.sampling_seed, profile.noise) == (7, "per-seed")


def test_paths_in_a_file_are_taken_from_its_own_folder(here: Path) -> None:
    from bench.spec.profile import load_profile

    (here / "shelf").mkdir()
    (here / "shelf" / "eyes.py").write_text("")
    (here / "shelf" / "parent.yaml").write_text(
        "extends: tiny\ncheckpoint: {kind: path, location: weights}\n"
        "backends: {clip: eyes.py:Eyes}\n"
    )
    (here / "mine.yaml").write_text("extends: shelf/parent.yaml\n")
    profile = load_profile("mine.yaml", trust=True)
    assert Path(profile.checkpoint.location).resolve() == here / "shelf" / "weights"
    assert profile.backends["clip"] == f"{here / 'shelf' / 'eyes.py'}:Eyes"
    assert profile.backends["vqa"] == "tiny-vqa"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"mine": "extends: tinny"}, "unknown profile 'tinny' (mine.yaml:1)"),
        ({"mine": "title: x\nextends: no.yaml"}, "there is no profile no.yaml (mine.yaml:2)"),
        ({"mine": "extends: mine.yaml"}, "in a circle (mine.yaml:1)"),
        ({"mine": "extends: b.yaml", "b": "extends: mine.yaml"}, "in a circle (b.yaml:1)"),
        ({"mine": "extends: [tiny]"}, "extends is ['tiny'] (mine.yaml:1)"),
        ({"mine": "extends: tiny\nbatch: 3"}, "unknown key 'batch' (mine.yaml:2)"),
        ({"mine": "extends: tiny\nrenderer: os"}, "renderer names 'os' (mine.yaml:2)"),
        (
            {"mine": "extends: tiny\ndata: {photos: {changes: {judge.name: 'a:B'}}}"},
            "names 'a:B' (mine.yaml:2)",
        ),
    ],
)
def test_a_wrong_profile_is_refused(
    files: dict[str, str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (here / f"{name}.yaml").write_text(text + "\n")
    assert said in plan(capsys, "--table", "1a", "--profile", "mine.yaml", code=2)


_MARKING = """
from pathlib import Path
Path("was-run").touch()
from bench.tiny.suites import geneval_tiny
def prompts():
    return geneval_tiny("validation")
"""


def test_a_file_runs_nothing_that_nobody_registered_unless_it_is_trusted(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    write(here, "marking_under_test", _MARKING)
    suite = "protocols: {test: {geneval: {suite: {function: 'marking_under_test:prompts'}}}}"
    (here / "mine.yaml").write_text(f"extends: tiny\n{suite}\n")
    asked = ["--table", "1a", "--cols", "GE", "--profile", "mine.yaml"]
    said = plan(capsys, *asked, code=2)
    assert "names 'marking_under_test:prompts' (mine.yaml:2)" in said and "--trust" in said
    for verb in (["train", "ddspo", "--dry-run"], ["generate"], ["run", "--table", "1a"]):
        assert main([*verb, "--profile", "mine.yaml", "--store", "store"]) == 2
    curation = "source: {kind: rendered, suite: {function: 'marking_under_test:prompts'}}"
    (here / "curation.yaml").write_text(f"{curation}\n")
    assert main(["curate", "--profile", "curation.yaml", "--store", "store", "--dry-run"]) == 2
    assert not (here / "was-run").exists()
    plan(capsys, *asked, "--trust")
    assert (here / "was-run").exists()


def test_a_suite_and_a_table_of_an_installed_package_are_known_by_name(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    write(
        here, "package_under_test", f"{_MARKING}\nTABLE = Path(__file__).with_name('theirs.yaml')\n"
    )
    generation = "{scheduler: default, steps: 2, cfg_scale: 1.0, height: 32, width: 32}"
    file = table(here, "theirs.yaml")
    file.write_text(
        f"{file.read_text()}protocols: {{test: {{GE: {{suite: {{function: their-prompts}}, "
        f"images_per_prompt: 1, generation: {generation}}}}}}}\n"
    )
    points = (
        "[bench.tables]\ntheirs = package_under_test:TABLE\nbroken = absent_under_test:TABLE\n"
        "[bench.suites]\ntheir-prompts = package_under_test:prompts\n"
    )
    distribution(here, "some-package", points)
    found = json.loads(plan(capsys, "--table", "theirs"))
    assert found["table"] == "theirs"
    assert "there is no module 'absent_under_test'" in plan(capsys, "--table", "broken", code=2)
    assert main(["list", "tables", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {"theirs", "1a"} <= {row["name"] for row in json.loads(out)}
    assert "broken" in err and "some-package 1.0" in err


def test_every_function_that_a_shipped_file_names_is_registered() -> None:
    """So that a copy of a shipped profile or table is read without being trusted."""
    from bench.config import load_yaml
    from bench.config.trust import require_registered
    from bench.data.curation.settings import PRESETS
    from bench.spec.inheritance import FOLDER
    from bench.suites.catalog import CATALOG

    files = [
        *FOLDER.glob("*.yaml"),
        *FOLDER.parent.glob("*.yaml"),
        *PRESETS.glob("*.yaml"),
        CATALOG,
    ]
    assert len(files) > 15
    for file in files:
        require_registered(load_yaml(file), file)


@pytest.mark.parametrize("sign", ["\n", "\t", "\x1b[2K", "\r", "\x85", "\u2028", "\u202e"])
def test_names_with_characters_that_show_as_something_else_are_refused(
    sign: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = plan(capsys, "--table", "1a", "--row", f"mine{sign}DDSPO=tiny-sd", code=2)
    assert f"U+{ord(sign[0]):04X}" in said and "on one line" in said and sign not in said
    table(here, rows=f"  - {{key: other, label: {json.dumps(f'a{sign}b')}, checkpoint: base}}\n")
    assert "the row label" in plan(capsys, "--table", "mine.yaml", code=2)
    table(here, column=_COLUMN.replace("GenEval", json.dumps(f"a{sign}b")))
    assert "the column label" in plan(capsys, "--table", "mine.yaml", code=2)
    (here / "own.yaml").write_text(f"extends: tiny\ntitle: {json.dumps(f'a{sign}b')}\n")
    said = plan(capsys, "--table", "1a", "--profile", "own.yaml", code=2)
    assert "the profile's title" in said


def test_a_profile_called_like_a_shipped_one_is_shown_as_the_file_it_is(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "tiny.yaml").write_text("extends: tiny\n")
    asked = ["--table", "1a", "--rows", "base", "--cols", "GE"]
    said = plan(capsys, *asked, "--profile", "tiny.yaml")
    own = json.loads(said)
    shipped = json.loads(plan(capsys, *asked))
    assert (own["profile"], shipped["profile"]) == ("tiny.yaml", "tiny")
    assert artifacts(said) == artifacts(json.dumps(shipped))
