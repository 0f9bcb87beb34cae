r"""OneIG's text rules with a real reader on signs whose words are known: `oneig-text-rapidocr`.

    python -m bench assets build --env rapidocr
    python benchmarks/rendered_signs.py --fonts /usr/share/fonts/truetype/dejavu

Eight signs of each kind are drawn at 512 x 512, every one with words, size, font and colours of its
own: plain; turned by 15 to 30 degrees; small print of 8 to 12 pixels; under noise as strong as the
contrast; blurred by 5 to 8 pixels. Shown by kind is how many are read without an edit, the share of
words, edits per character, and OneIG's score.
The words are wanted in the order of the lines. Without --fonts the font of Pillow is used alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bench.api import ImageRecord, ImageSet, Predictions, Prompt, PromptSuite
from evaluators.isolated.reading import RapidOCRReader
from evaluators.oneig.rules import MAX_EDIT_DISTANCE, compare_text, normalise_text, text_score

SIZE = 512
KINDS = ("plain", "turned", "small", "noise", "blurred")
EACH = 8
_WORDS = (
    "open market bakery coffee station harbour library garden museum theatre bridge closed fresh "
    "bread books flowers music welcome tickets platform exit parking summer winter festival grand "
    "north south street river corner kitchen hotel cinema orange lemon silver golden electric "
    "Monday Friday morning evening 24 hours sale half price number seven twelve 1999"
)
WORDS = tuple(_WORDS.split())
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf")


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A drawn sign: its kind, its lines from top to bottom, its picture."""

    kind: str
    lines: tuple[str, ...]
    picture: Image.Image

    @property
    def text(self) -> str:
        """What is wanted of a reading."""
        return " ".join(self.lines)


def signs(folder: Path | None, *, each: int = EACH, seed: int = 0) -> Iterator[Sign]:
    """Yield `each` signs of every kind, the same ones for the same fonts and seed."""
    files = sorted(folder / name for name in FONTS if (folder / name).is_file()) if folder else []
    if folder is not None and not files:
        raise SystemExit(f"{folder} has none of {', '.join(FONTS)}")
    for kind in KINDS:
        for number in range(each):
            draw = np.random.default_rng([seed, KINDS.index(kind), number])
            yield _sign(kind, draw, files)


def _sign(kind: str, draw: np.random.Generator, files: Sequence[Path]) -> Sign:
    rows = int(draw.integers(2, 7)) if kind == "small" else int(draw.integers(1, 4))
    lines = tuple(
        " ".join(_cased(str(word), draw) for word in draw.choice(WORDS, int(draw.integers(1, 4))))
        for _ in range(rows)
    )
    wanted = int(draw.integers(8, 13)) if kind == "small" else int(draw.integers(36, 80))
    font = _fitting(lines, wanted, files, draw)
    dark, light = draw.integers(0, 90, 3), draw.integers(170, 256, 3)
    paper, ink = (light, dark) if draw.random() < 0.5 else (dark, light)
    board = Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in paper))
    pen = ImageDraw.Draw(board)
    height = 1.4 * font.size
    top = (SIZE - rows * height) / 2
    for row, line in enumerate(lines):
        left = (SIZE - pen.textlength(line, font=font)) / 2
        pen.text((left, top + row * height), line, font=font, fill=tuple(int(v) for v in ink))
    if kind == "turned":
        angle = float(draw.uniform(15, 30)) * (1 if draw.random() < 0.5 else -1)
        fill = tuple(int(v) for v in paper)
        board = board.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=fill)
    if kind == "blurred":
        board = board.filter(ImageFilter.GaussianBlur(float(draw.uniform(5, 8))))
    if kind == "noise":
        noisy = np.asarray(board, dtype=np.float32) + draw.normal(0, 120, (SIZE, SIZE, 3))
        board = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    return Sign(kind=kind, lines=lines, picture=board)


def _cased(word: str, draw: np.random.Generator) -> str:
    return (word, word.upper(), word.capitalize())[int(draw.integers(3))]


def _fitting(
    lines: Sequence[str], size: int, files: Sequence[Path], draw: np.random.Generator
) -> Any:
    """Return a font of at most `size` pixels in which every line fits, also when turned."""
    file = files[int(draw.integers(len(files)))] if files else None
    while True:
        font: Any = ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
        if max(font.getlength(line) for line in lines) <= 0.75 * SIZE:
            return font
        size -= 1


def image_set(folder: Path, drawn: Sequence[Sign]) -> ImageSet:
    """Write the signs and return them as an image set, one prompt each."""
    prompts, records = [], []
    for number, sign in enumerate(drawn):
        name = f"{number:03d}"
        sign.picture.save(folder / f"{name}.png")
        meta = {"text": sign.text, "language": "EN"}
        prompts.append(Prompt(id=name, text=f'a sign that says "{sign.text}"', meta=meta))
        records.append(
            ImageRecord(prompt_id=name, ordinal=0, path=f"{name}.png", sha256="", seed=0)
        )
    suite = PromptSuite(name="rendered-signs", version="1", prompts=tuple(prompts))
    return ImageSet(
        root=folder, suite=suite, images_per_prompt=1, records=tuple(records), identity="signs"
    )


def read(drawn: Sequence[Sign]) -> list[str]:
    """Return what the back-end reads on each sign."""
    with tempfile.TemporaryDirectory() as folder:
        images = image_set(Path(folder), drawn)
        rows = [dict(record) for record, _ in RapidOCRReader().predict(images, {}, batch_size=8)]
    found = Predictions(records=rows)
    return [str(record["text"]) for record in found.records]


def figures(drawn: Sequence[Sign], readings: Sequence[str]) -> dict[str, float]:
    """Return the shares and OneIG's text score of readings."""
    compared = [compare_text(s.text, r) for s, r in zip(drawn, readings, strict=True)]
    edits = [c.edits for c in compared]
    characters = sum(len(normalise_text(sign.text)) for sign in drawn)
    exact = sum(e == 0 for e in edits) / len(edits)
    words = sum(c.matched for c in compared) / sum(c.wanted for c in compared)
    score = text_score(
        edits=sum(edits) / len(edits),
        complete=exact,
        accuracy=words,
        limit=MAX_EDIT_DISTANCE["EN"],
    )
    return {
        "signs": len(edits),
        "exact": exact,
        "words": words,
        "character errors": sum(edits) / characters,
        "oneig text": score,
    }


def main() -> None:
    """Draw, read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fonts", type=Path, help="a folder with DejaVu's fonts")
    parser.add_argument("--each", type=int, default=EACH, help=f"signs a kind (default: {EACH})")
    parser.add_argument("--keep", type=Path, help="write the signs there")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    drawn = list(signs(args.fonts, each=args.each))
    readings = read(drawn)
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        image_set(args.keep, drawn)
    table = {}
    for kind in (*KINDS, "all"):
        mine = [i for i, sign in enumerate(drawn) if kind in (sign.kind, "all")]
        table[kind] = figures([drawn[i] for i in mine], [readings[i] for i in mine])
    wrong = [
        {"kind": s.kind, "wanted": s.text, "read": " ".join(r.split())}
        for s, r in zip(drawn, readings, strict=True)
        if compare_text(s.text, r).edits
    ]
    if args.json:
        print(json.dumps({"figures": table, "wrong": wrong}, indent=1))
        return
    names = list(table["all"])
    print(f"{'kind':<10}" + "".join(f"{name:>18}" for name in names))
    for kind, row in table.items():
        print(f"{kind:<10}" + "".join(f"{row[name]:>18.3f}" for name in names))
    for row in wrong:
        print(f"{row['kind']:<10}{row['wanted']!r} was read as {row['read']!r}")


if __name__ == "__main__":
    main()
