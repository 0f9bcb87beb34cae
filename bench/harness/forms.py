"""A study of people: two systems' images side by side, as forms to be filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_PROFILE
from bench.generation.image_set import open_image_set
from bench.harness.parts import Setting
from bench.harness.repairs import with_repairs
from bench.harness.scoring import Pictures, measured_set
from bench.harness.votes import asks_people
from bench.read.text import read_bytes
from bench.store import DISK, Artifact, Store
from bench.votes.ballots import make_study, read_study
from bench.votes.form import FormItem, render_form


@dataclass(frozen=True, kw_only=True)
class Forms:
    """A study that was laid out.

    Attributes:
        study: id of the study, which keeps the key: who is on which side.
        pairs: id of the pairs shown.
        count: how many pairs.
        files: the forms, with their sizes in bytes.
    """

    study: str
    pairs: str
    count: int
    files: Mapping[Path, int]


def make_forms(
    images: tuple[Pictures, Pictures],
    folder: Path | str,
    evaluator: str = "human",
    profile: str = DEFAULT_PROFILE,
    *,
    per_prompt: int = 1,
    limit: int | None = None,
    forms: int = 1,
    seed: int = 0,
    overrides: Sequence[str] = (),
    protocol: str | None = None,
    trust: bool = False,
    store: Path | str = "outputs",
) -> Forms:
    """Write forms for people; `score(evaluator="human", votes=[...])` takes what comes back.

    Args:
        images: the candidate's and the other's, as `score` takes them.
        folder: where the forms go, an HTML page each.
        evaluator: one that is measured by votes.
        profile, overrides, protocol, trust: as in `score`: they say what images must be like.
        per_prompt: pairs of each prompt.
        limit: about so many prompts, stratified by task.
        forms: how many, of unlike orders and sides.
        seed: of prompts, orders and sides.
        store: the folder artifacts lie in; it keeps the key.

    Raises:
        UsageError: the evaluator asks no people, or a number is out of range.
        ProtocolError: the sides are of unlike prompts.
        StoreError: the folder cannot be written.
    """
    if not asks_people(evaluator):
        raise UsageError(f"{evaluator} is not measured by votes of people; it takes no forms.")
    setting = Setting(
        profile=profile, overrides=overrides, protocol=protocol, trust=trust, store=store
    )

    def action() -> Forms:
        pairs = measured_set(
            setting, images, evaluator, per_prompt=per_prompt, limit=limit, seed=seed
        )
        return _write(Store(Path(store)), pairs, Path(folder), forms=forms, seed=seed)

    return with_repairs(action)


def _write(store: Store, pairs: Artifact, folder: Path, *, forms: int, seed: int) -> Forms:
    """Lay out a study of pairs and write its forms."""
    study = make_study(store, pairs, seed=seed, forms=forms)
    layout = read_study(study)
    images = open_image_set(pairs)
    texts = {prompt.id: prompt.text for prompt in images.suite}
    files = {(r.prompt_id, r.ordinal): images.root / r.path for r in images.records}
    pages: dict[Path, bytes] = {}
    for number, shown in enumerate(layout["forms"], start=1):
        items = [
            FormItem(
                prompt=texts[pair],
                left=read_bytes(files[pair, int(right)]),
                right=read_bytes(files[pair, int(not right)]),
            )
            for pair, right in shown
        ]
        page = render_form(items, study=study.id, form=number, question=layout["question"])
        pages[folder / f"form-{number}.html"] = page.encode()
    for path, data in pages.items():
        DISK.write_atomically(path, data)
    return Forms(
        study=study.id,
        pairs=pairs.id,
        count=len(texts),
        files={path: len(data) for path, data in pages.items()},
    )
