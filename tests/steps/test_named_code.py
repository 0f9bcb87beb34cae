"""Code that a profile or a curation names by its place: an edit of it is another identity."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.api.errors import UsageError
from bench.data.curation.judge import Photos
from bench.data.curation.masks import Saliency
from bench.data.curation.photographs import Photographs
from bench.data.curation.settings import read_settings
from bench.generation.image_set import open_image_set
from bench.spec.profile import load_profile
from bench.steps.builder import GraphBuilder
from bench.steps.graph import Graph
from bench.steps.images import RenderStep, add_renders
from bench.steps.step import Runtime
from bench.store import SourceChangedError, Store, read_jsonl, require_unchanged
from bench.tiny import truth
from bench.tiny.suites import geneval_tiny

RENDERER = """
from bench.tiny import truth
from bench.tiny.truth import image_set_identity, image_set_name

STRENGTH = 0

def render_image_set(store, suite, images_per_prompt, **options):
    draw = truth.render_job
    truth.render_job = lambda job, *, clean: draw(job, clean=clean) | STRENGTH
    try:
        return truth.render_image_set(store, suite, images_per_prompt, **options)
    finally:
        truth.render_job = draw
"""
JUDGE = """
from bench.data.curation.judge import PhotoJudge
from bench.data.curation.saliency import SaliencyModel

class Judge(PhotoJudge):
    name, version = "mine", 1
    def replies(self, images):
        return ["no" for _ in images]

class Model(SaliencyModel):
    name, version = "mine", 1
    def maps(self, images):
        return [image[..., 0] for image in images]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the plug-in's file is to be written."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "named_code.py"
    sys.modules.pop("named_code", None)


def write(module: Path, text: str) -> None:
    """Write the file; the process imports it anew, as the next command does."""
    module.write_text(text)
    sys.modules.pop("named_code", None)
    importlib.invalidate_caches()


def rendered(store: Store, renderer: str = "named_code") -> RenderStep:
    profile = load_profile("tiny", overrides=[f"renderer={renderer}"])
    builder = GraphBuilder(profile=profile, store=store, graph=Graph())
    suite = geneval_tiny("validation").limited(2)
    step = builder.graph[add_renders(builder, suite, 1, seed=0, quality="clean")]
    assert isinstance(step, RenderStep)
    return step


def pixels(store: Store, step: RenderStep) -> bytes:
    images = open_image_set(step.make(store, Runtime()), verify=False)
    return b"".join((images.root / record.path).read_bytes() for record in images.records)


def test_images_of_an_edited_renderer_are_others(module: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    write(module, RENDERER)
    before = rendered(store)
    drawn = pixels(store, before)
    assert store.get(before.id).identity["code"] == before.identity["code"]
    write(module, "# a remark\n" + RENDERER)
    assert rendered(store).id == before.id
    write(module, RENDERER.replace("STRENGTH = 0", "STRENGTH = 255"))
    after = rendered(store)
    assert after.id != before.id
    assert pixels(store, after) != drawn
    with pytest.raises(SourceChangedError, match="named_code"):
        require_unchanged(before.sources[0])


def test_the_renderer_of_the_tiny_world_has_its_version_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    step = rendered(store, truth.__name__)
    assert step.sources == ()
    assert step.identity == truth.image_set_identity(store, step.suite, 1, seed=0, quality="clean")
    with pytest.raises(UsageError, match=r"renderer 'bench\.tiny\.world:render_image_set'"):
        rendered(store, "bench.tiny.world")


def test_an_edited_judge_saliency_model_or_renderer_is_another_step(
    module: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    suite = {"function": "bench.tiny.suites:captions_tiny", "options": {"split": "validation"}}
    settings = read_settings(
        {
            "name": "toy",
            "source": {"kind": "rendered", "renderer": "named_code", "suite": suite},
            "judge": {"name": "named_code:Judge"},
            "saliency": {"name": "named_code:Model"},
            "negatives": {"checkpoint": "tiny-sd"},
        },
    )

    def steps() -> list[str]:
        made = (
            Photographs(store, settings).step(),
            Photos(store, settings, source="a").step,
            Saliency(store, settings, entering="a", source="b").step,
        )
        assert all(step.sources for step in made)
        return [str(step.whole_identity()) for step in made]

    both = RENDERER + JUDGE
    write(module, both)
    before = steps()
    edits = (("STRENGTH = 0", "STRENGTH = 9"), ('"no"', '"yes"'), ("[..., 0]", "[..., 1]"))
    for number, (old, new) in enumerate(edits):
        write(module, both.replace(old, new))
        after = steps()
        assert [a != b for a, b in zip(before, after, strict=True)] == [
            place == number for place in range(3)
        ]


def test_a_judge_that_reads_a_file_judges_anew_where_the_file_changes(
    module: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    suite = {"function": "bench.tiny.suites:captions_tiny", "options": {"split": "validation"}}
    source = {"kind": "rendered", "renderer": "named_code", "suite": suite, "limit": 3}
    judge = {"name": "named_code:Judge"}
    settings = read_settings(
        {
            "name": "toy",
            "size": 32,
            "source": source,
            "judge": judge,
            "negatives": {"checkpoint": "tiny-sd"},
        }
    )
    answers, strength = tmp_path / "answers", tmp_path / "strength"
    answers.write_text("no")
    strength.write_text("0")
    reads = "(__import__('pathlib').Path(__file__).parent / ''.join(['{}', '{}'])).read_text()"
    text = (RENDERER + JUDGE).replace("['no' ", f"[{reads.format('ans', 'wers')} ")
    text = text.replace('"no"', reads.format("ans", "wers"))
    text = text.replace("| STRENGTH", f"| int({reads.format('stre', 'ngth')})")
    write(module, text)

    def made() -> tuple[str, list[str]]:
        first = Photographs(store, settings).run()
        photos = Photos(store, settings, source=first.id).run(device="cpu", batch_size=2)
        replies = [row["reply"] for row in read_jsonl(photos.file("records.jsonl"))]
        return first.content_sha256, replies

    drawn, replies = made()
    assert set(replies) == {"no"} and made() == (drawn, replies)
    answers.write_text("yes")
    assert made() == (drawn, ["yes"] * len(replies))
    strength.write_text("255")
    assert made()[0] != drawn
