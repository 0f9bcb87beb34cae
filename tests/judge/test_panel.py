"""Judges behind an endpoint and in transformers, their cache and their settings."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.api import ImageRecord, ImageSet, IncompleteError, Prompt, PromptSuite
from bench.api.errors import BenchError, PrerequisiteError, UsageError
from evaluators.models.judge_cache import ReplyCache
from evaluators.models.judge_endpoint import EndpointJudge
from evaluators.models.judge_panel import JudgePanel
from evaluators.models.judge_settings import JudgeMember, read_judges
from tests.chat_server import ChatServer, serving
from tests.curation.test_vlm import model as model  # a LLaVA of toy width, as a fixture

COLOURS = ("red", "blue")


def prefer_red(body: dict[str, Any]) -> str:
    """What the endpoint's model says: 1 where the first image is red."""
    first = next(p for p in body["messages"][0]["content"] if p["type"] == "image_url")
    data = base64.b64decode(first["image_url"]["url"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        pixel = picture.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return json.dumps({"choice": 1 if pixel[0] > 99 else 2})


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(prefer_red) as server:
        yield server


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Three pairs: a red picture each, and a blue one."""
    suite = PromptSuite(
        name="pairs",
        version="1",
        prompts=tuple(Prompt(id=f"p{k}#0", text=f"scene {k}") for k in range(3)),
    )
    records = []
    for k, prompt in enumerate(suite):
        for ordinal, colour in enumerate(COLOURS):
            path = f"{k}-{ordinal}.png"
            Image.new("RGB", (16 + k, 16), colour).save(tmp_path / path)
            records.append(
                ImageRecord(prompt_id=prompt.id, ordinal=ordinal, path=path, sha256=path, seed=0)
            )
    return ImageSet(root=tmp_path, suite=suite, images_per_prompt=2, records=tuple(records))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def choose(folder: Path, monkeypatch: pytest.MonkeyPatch, *judges: dict[str, Any]) -> None:
    path = folder / "judges.yaml"
    path.write_text(json.dumps({"judges": list(judges)}))  # JSON is YAML
    monkeypatch.setenv("BENCH_JUDGES", str(path))


def ask(images: ImageSet) -> list[dict[str, Any]]:
    queries = {prompt.id: [f"Which one? {prompt.text}"] for prompt in images.suite}
    return [record for record, _ in JudgePanel().predict(images, queries, batch_size=4)]


def test_an_endpoint_is_shown_both_images_in_both_orders_once(
    endpoint: ChatServer,
    images: ImageSet,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    judge = {"name": "far", "kind": "endpoint", "model": "m", "url": endpoint.url}
    choose(tmp_path, monkeypatch, {**judge, "key_env": "MY_KEY"})
    found = ask(images)
    assert [r["replies"]["far"] for r in found] == ['{"choice": 1}', '{"choice": 2}'] * 3
    assert set(endpoint.keys) == {"Bearer secret"} and len(endpoint.bodies) == 6
    kinds = [part["type"] for part in endpoint.bodies[0]["messages"][0]["content"]]
    assert kinds == ["image_url", "image_url", "text"]
    assert endpoint.bodies[0]["temperature"] == 0.0
    assert ask(images) == found and len(endpoint.bodies) == 6  # all of it was kept
    (kept,) = cache.rglob("*.jsonl")
    assert "secret" not in kept.read_text()
    assert "secret" not in json.dumps(JudgePanel().identity())


def test_what_was_answered_before_a_failure_is_kept(
    endpoint: ChatServer,
    images: ImageSet,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    judge = {"name": "far", "kind": "endpoint", "model": "m", "url": endpoint.url}
    choose(tmp_path, monkeypatch, {**judge, "workers": 1, "retries": 0})
    queries = {prompt.id: ["Which one?"] for prompt in images.suite}
    answers = JudgePanel().predict(images, queries, batch_size=1)
    next(answers)
    endpoint.fail(500)
    with pytest.raises(BenchError, match="replies are kept"):
        next(answers)
    asked = len(endpoint.bodies)
    assert len(list(JudgePanel().predict(images, queries, batch_size=1))) == 6
    assert len(endpoint.bodies) == asked + 5


def member(url: str, **changes: Any) -> JudgeMember:
    return JudgeMember(name="far", kind="endpoint", model="m", url=url, **changes)


def test_a_busy_endpoint_is_asked_again_and_a_refusal_is_not(
    endpoint: ChatServer, images: ImageSet
) -> None:
    first, second = images.paths()[:2]
    waited: list[float] = []
    judge = EndpointJudge(member(endpoint.url), wait=waited.append)
    endpoint.fail(503, 429)
    assert judge.ask("?", first, second) == '{"choice": 1}' and waited == [0.5, 1.0]
    endpoint.fail(401)
    with pytest.raises(PrerequisiteError, match="export OPENAI_API_KEY"):
        judge.ask("?", first, second)
    endpoint.fail(400)
    with pytest.raises(UsageError, match="Look at model"):
        judge.ask("?", first, second)


def test_an_endpoint_that_is_not_there_is_a_prerequisite(images: ImageSet) -> None:
    first, second = images.paths()[:2]
    judge = EndpointJudge(member("http://127.0.0.1:9", retries=1), wait=lambda _s: None)
    with pytest.raises(PrerequisiteError, match="after 2 attempts"):
        judge.ask("?", first, second)


def test_a_vision_language_model_answers_through_transformers(
    model: Path, images: ImageSet, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    judge = {"name": "near", "kind": "transformers", "model": str(model), "max_new_tokens": 2}
    choose(tmp_path, monkeypatch, {**judge, "dtype": "float32"})
    found = ask(images)
    assert len(found) == 6 and all(isinstance(r["replies"]["near"], str) for r in found)
    identity = JudgePanel().identity()["judges"]["near"]
    assert len(identity["weights"]) == 64 and str(model) not in json.dumps(identity)
    (kept,) = cache.rglob("*.jsonl")
    assert len(kept.read_text().split()) > 6


def test_other_than_pairs_is_refused(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    single = ImageSet(
        root=images.root, suite=images.suite, images_per_prompt=1, records=images.records[::2]
    )
    with pytest.raises(IncompleteError, match="expected pairs"):
        ask(single)


def test_a_line_that_was_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    kept = ReplyCache({"a": 1}, tmp_path)
    kept.put("x", "one\ntwo")
    kept.put("y", "three")
    text = kept.path.read_text()
    kept.path.write_text(text[:-4])
    again = ReplyCache({"a": 1}, tmp_path)
    assert again.get("x") == "one\ntwo" and again.get("y") is None
    again.put("z", "four")
    last = ReplyCache({"a": 1}, tmp_path)
    assert (last.get("x"), last.get("y"), last.get("z")) == ("one\ntwo", None, "four")
    assert ReplyCache({"a": 2}, tmp_path).get("x") is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("judges: []", "at least one judge"),
        ("judge: [{name: a}]", "expected one key `judges`"),
        ("judges: [x]", "expected a mapping"),
        ("judges: [{name: a, kind: endpoint}]", "it lacks model"),
        ("judges: [{name: a, kind: endpoint, model: m, modle: x}]", "Did you mean 'model'"),
        ("judges: [{name: a, kind: endpont, model: m}]", "Did you mean 'endpoint'"),
        ("judges: [{name: a, kind: endpoint, model: m}]", "do not fit together"),
        ("judges: [{name: a, kind: endpoint, model: m, url: ftp://x}]", "expected http"),
        ("judges: [{name: a, kind: transformers, model: m, dtype: int8}]", "unknown dtype"),
        (
            "judges: [{name: a, kind: transformers, model: m}, "
            "{name: a, kind: transformers, model: n}]",
            "one name",
        ),
        ("judges: [", "is not valid YAML"),
    ],
)
def test_a_wrong_judges_file_is_named(text: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "judges.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_judges(path)
    assert hint in str(caught.value)


def test_without_judges_the_panel_says_how_to_choose_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_JUDGES", raising=False)
    with pytest.raises(PrerequisiteError, match="--judges FILE"):
        JudgePanel().identity()
