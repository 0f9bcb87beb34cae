"""A study from two folders to win rates, and judges on the same pairs, through the command line."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import harness
from bench.api.errors import ProtocolError, UsageError
from bench.cli import main
from bench.store import Artifact, Store
from bench.tiny.render import render
from bench.tiny.scenes import scene_for
from bench.tiny.suites import geneval_tiny, meaning_of
from bench.votes.ballots import make_study, read_study, read_votes
from bench.votes.form import FormItem, render_form
from tests.chat_server import ChatServer
from tests.judge.test_panel import endpoint as endpoint

BOTH = ("--images", "{0}", "--images", "{1}")
PROMPTS = geneval_tiny(split="test").limited(6)


def folder(root: Path, *, shift: int) -> Path:
    """The scenes of six prompts; with a shift, each prompt gets another one's."""
    root.mkdir()
    lines = []
    for number, prompt in enumerate(PROMPTS):
        drawn = PROMPTS.prompts[(number + shift) % len(PROMPTS)]
        for k in range(2):
            rng = np.random.default_rng(k + 10 * shift)
            name = f"{number}-{k}.png"
            Image.fromarray(render(scene_for(meaning_of(drawn), rng))).save(root / name)
            line = {"file": name, "prompt": prompt.text, "tag": prompt.tag, "meta": prompt.meta}
            lines.append(json.dumps(line))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A system that draws what is asked for, and one that draws something else."""
    root = tmp_path_factory.mktemp("sides")
    both = folder(root / "right", shift=0), folder(root / "wrong", shift=1)
    return [word for side in both for word in ("--images", str(side))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def score(place: Path, *words: str) -> int:
    return main(["score", *words, "--jobs", "1", "--device", "cpu", "--store", str(place)])


def exported(place: Path, sides: list[str], out: Path, capsys: Any, *words: str) -> Any:
    code = score(place, "--evaluator", "human", *sides, "--export", str(out), "--json", *words)
    assert code == 0
    return json.loads(capsys.readouterr().out)


def pictures(page: str) -> list[bytes]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [base64.b64decode(text) for text in found]


def votes_of(page: Path, system: set[bytes], voter: str, folder: Path, *, skip: int = 0) -> Path:
    """Fill a form as one who always prefers the system's pictures, and save it."""
    text = page.read_text()
    found = re.search(r'id="about">(.*?)</script>', text)
    assert found is not None
    about = json.loads(found[1])
    shown = pictures(text)
    votes = [
        {"item": k + 1, "choice": "left" if shown[2 * k] in system else "right"}
        for k in range(about["items"] - skip)
    ]
    data = {key: about[key] for key in ("format", "study", "form")}
    path = folder / f"{voter}.json"
    path.write_text(json.dumps({**data, "voter": voter, "votes": votes}))
    return path


def files_of(sides: list[str], side: int) -> set[bytes]:
    return {path.read_bytes() for path in Path(sides[2 * side + 1]).glob("*.png")}


def test_a_study_goes_out_and_comes_back(
    place: Path, sides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = exported(place, sides, tmp_path / "study", capsys, "--forms", "3")
    pages = [Path(form["form"]) for form in made["forms"]]
    assert [p.name for p in pages] == ["form-1.html", "form-2.html", "form-3.html"]
    shown = [pictures(p.read_text()) for p in pages]
    right, wrong = files_of(sides, 0), files_of(sides, 1)
    for form in shown:
        assert len(form) == 12 and len(set(form) & right) == 6 and len(set(form) & wrong) == 6
        assert sum(picture in right for picture in form[::2]) == 3  # on the left in half of them
    assert shown[0] != shown[1] != shown[2]
    votes = [
        votes_of(pages[0], right, "anna", tmp_path),
        votes_of(pages[1], right, "bo", tmp_path, skip=2),
        votes_of(pages[2], wrong, "cy", tmp_path),
    ]
    words = ["--evaluator", "human", "--votes", *map(str, votes), "--out", str(tmp_path / "out")]
    assert score(place, *words, "--json") == 0
    said = capsys.readouterr()
    metrics = {k: v["value"] for k, v in json.loads(said.out)["metrics"].items()}
    assert "bo answered 4 of 6 pairs" in said.err
    assert metrics["missing"] == pytest.approx(2 / 18)
    assert metrics["win_rate"] == pytest.approx(4 / 6)  # anna and bo against cy
    assert metrics["tie_rate"] == pytest.approx(2 / 6)  # anna against cy
    assert metrics["votes_won"] == pytest.approx(10 / 16)
    assert (tmp_path / "out" / "records.jsonl").is_file()


def test_a_study_from_python(place: Path, sides: list[str], tmp_path: Path) -> None:
    both = (sides[1], sides[3])
    made = harness.make_forms(both, tmp_path / "study", limit=4, store=place)
    (page,) = made.files
    votes = [votes_of(page, files_of(sides, 0), "anna", tmp_path)]
    found = harness.score(evaluator="human", votes=votes, store=place, jobs=1)
    assert found.metrics["win_rate"].value == 1.0 and found.images == made.pairs
    with pytest.raises(UsageError, match="leave images out"):
        harness.score(both, "human", votes=votes, store=place)
    with pytest.raises(UsageError, match="found votes"):
        harness.score(evaluator="geneval", votes=votes, store=place)
    with pytest.raises(UsageError, match="make_forms"):
        harness.score(both, "human", store=place)
    with pytest.raises(UsageError, match="takes no forms"):
        harness.make_forms(both, tmp_path / "x", "vlm-judge", store=place)


def test_the_form_is_whole_by_itself_and_tells_nothing(
    place: Path, sides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = exported(place, sides, tmp_path / "a", capsys)
    again = exported(place, sides, tmp_path / "b", capsys)
    other = exported(place, sides, tmp_path / "c", capsys, "--seed", "1")
    first, second, third = (
        (tmp_path / name / "form-1.html").read_bytes() for name in ("a", "b", "c")
    )
    assert first == second != third and made["study"] == again["study"] != other["study"]
    text = first.decode()
    assert "http://" not in text and "https://" not in text
    assert "default-src 'none'" in text
    assert "right" not in made["study"] and "wrong" not in made["study"]
    assert not re.search(r'(src|href)="(?!data:)', text)


def test_what_a_prompt_says_is_text_and_nothing_else() -> None:
    png = b"\x89PNG"
    nasty = '</fieldset><script>alert(1)</script> "&" @@about@@ <img src=x onerror=y>'
    page = render_form(
        [FormItem(prompt=nasty, left=png, right=b"\xff\xd8\xff")],
        study="study/</script><b>-0",
        form=1,
        question="A & B?",
    )
    assert html.escape(nasty) in page and "<script>alert" not in page and "<img src=x" not in page
    assert page.count("</script>") == 2 and "A &amp; B?" in page
    assert "data:image/jpeg;base64" in page and "data:image/png;base64" in page


@pytest.fixture
def study(place: Path, sides: list[str], tmp_path: Path, capsys: Any) -> Artifact:
    made = exported(place, sides, tmp_path / "study", capsys)
    return Store(place).get(made["study"])


def saved(folder: Path, of: Artifact, name: str = "v", **changes: Any) -> Path:
    data = {
        "format": 1,
        "study": of.id,
        "form": 1,
        "voter": name,
        "votes": [{"item": 1, "choice": "tie"}],
        **changes,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"format": 2}, "no file of a form"),
        ({"voter": "  "}, "no file of a form"),
        ({"votes": None}, "votes missing or wrong"),
        ({"form": 2}, "form 2"),
        ({"votes": [{"item": 7, "choice": "tie"}]}, "none of 1 to 6"),
        ({"votes": [{"item": 1, "choice": "tie"}] * 2}, "voted on twice"),
        ({"votes": [{"item": 1, "choice": "middle"}]}, "is no vote"),
        ({"votes": ["x"]}, "is no vote"),
        ({"study": "study/none-0123456789ab"}, "no artifact"),
        ({"study": "images"}, "images"),
    ],
)
def test_a_file_of_votes_that_is_wrong_is_named(
    changes: dict[str, Any], hint: str, study: Artifact, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        read_votes(Store(place), [saved(tmp_path, study, **changes)])
    assert hint in str(caught.value)


def test_files_that_do_not_belong_together_are_refused(
    study: Artifact, place: Path, tmp_path: Path
) -> None:
    store = Store(place)
    one = saved(tmp_path, study, "anna")
    (tmp_path / "more").mkdir()
    again = saved(tmp_path / "more", study, "anna")
    with pytest.raises(ProtocolError, match="voter 'anna' already"):
        read_votes(store, [one, again])
    pairs = store.get(read_study(study)["pairs"])
    other = make_study(store, pairs, seed=7)
    with pytest.raises(ProtocolError, match="of 2 studies"):
        read_votes(store, [one, saved(tmp_path / "more", other, "bo")])
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UsageError, match="no JSON"):
        read_votes(store, [tmp_path / "x.json"])
    with pytest.raises(UsageError, match="there is no file"):
        read_votes(store, [tmp_path / "none.json"])


def test_the_tiny_judges_prefer_what_was_asked_for(
    place: Path, sides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    mirrored = [*sides[2:], *sides[:2]]
    found = []
    for given in (sides, mirrored):
        assert score(place, "--evaluator", "vlm-judge", *given, "--json", "-q") == 0
        metrics = json.loads(capsys.readouterr().out)["metrics"]
        found.append({name: estimate["value"] for name, estimate in metrics.items()})
        assert metrics["win_rate"]["n"] == 12 and metrics["win_rate"]["clusters"] == 6
    one, other = found
    assert one["win_rate"] > 0.5 and one["win_rate"] == other["lose_rate"]
    assert one["first_share"] == 0.5 and one["consistent"] == 1.0 and one["unreadable"] == 0.0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--evaluator", "vlm-judge", "--images", "{0}"], "looks at two"),
        (["--evaluator", "vlm-judge", "--images", "{0}", "--images", "{0}"], "both sides are"),
        (["--evaluator", "human", *BOTH], "--export"),
        (
            ["--evaluator", "human", *BOTH, "--per-prompt", "3", "--export", "forms"],
            "has 2",
        ),
        (["--evaluator", "geneval", "--images", "{0}", "--limit", "3"], "compares no two systems"),
    ],
)
def test_orders_that_make_no_sense_are_exit_two(
    words: Sequence[str],
    hint: str,
    place: Path,
    sides: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word.format(sides[1], sides[3]) for word in words]
    assert score(place, *given) == 2
    assert hint in capsys.readouterr().err


def test_sides_of_unlike_prompts_are_refused(
    place: Path, sides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "manifest.jsonl").write_text('{"file": "a.png", "prompt": "another"}')
    words = ["--evaluator", "vlm-judge", *sides[:2], "--images", str(tmp_path)]
    assert score(place, *words) == 1
    assert "unlike prompts" in capsys.readouterr().err


def test_judges_of_a_file_judge_in_any_profile(
    place: Path,
    sides: list[str],
    endpoint: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BENCH_JUDGES", "")  # put back afterwards
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    endpoint.say = lambda _: "Image 1"
    judge = {"name": "far", "kind": "endpoint", "model": "m", "url": endpoint.url}
    (tmp_path / "judges.yaml").write_text(json.dumps({"judges": [judge]}))
    words = ["--judges", str(tmp_path / "judges.yaml"), "--limit", "6", "--per-prompt", "1"]
    assert score(place, "--evaluator", "vlm-judge", *sides, *words, "--json", "-q") == 0
    printed = json.loads(capsys.readouterr().out)
    metrics = printed["metrics"]
    again = harness.score(
        (sides[1], sides[3]),
        "vlm-judge",
        judges=tmp_path / "judges.yaml",
        limit=6,
        per_prompt=1,
        store=place,
        jobs=1,
    )
    assert again.id == printed["artifact"] and os.environ["BENCH_JUDGES"] == ""
    found = {name: estimate["value"] for name, estimate in metrics.items()}
    assert found["tie_rate"] == 1.0 and found["first_share"] == 1.0  # it likes the first place
    assert len(endpoint.bodies) == 12
    questions = [body["messages"][0]["content"][-1]["text"] for body in endpoint.bodies]
    assert any(f"Prompt: {PROMPTS.prompts[0].text}\n" in text for text in questions)
    assert score(place, "--evaluator", "vlm-judge", *sides, "--judges", "none.yaml") == 3
    assert "judges file" in capsys.readouterr().err
