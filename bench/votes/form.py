"""The form of a user study: one HTML file that needs nothing else, and no network.

Images are inside as data URLs; a content-security policy keeps the page from asking anybody for
anything. Votes stay in the browser until they are saved as a JSON file.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.read.text import read_text

TEMPLATE = Path(__file__).with_name("form.html.txt")
VOTES_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class FormItem:
    """One pair as it is shown: the prompt and the bytes of the two pictures."""

    prompt: str
    left: bytes
    right: bytes


def render_form(
    items: Sequence[FormItem], *, study: str, form: int, question: str, title: str = "Image study"
) -> str:
    """Return the page.

    Args:
        items: pairs in the order shown; votes name them 1, 2, ...
        study: goes back with the votes.
        form: number of the form, from 1.
        question: asked of each pair.
        title: of the page.
    """
    sections = "\n".join(_section(number, item, question) for number, item in enumerate(items, 1))
    about = {"format": VOTES_FORMAT, "study": study, "form": form, "items": len(items)}
    # within a script element only `<` could end it early
    data = json.dumps(about).replace("<", "\\u003c")
    page = read_text(TEMPLATE, page=True)
    for name, text in (
        ("title", html.escape(title)),
        ("question", html.escape(question)),
        ("count", str(len(items))),
        ("about", data),
        ("items", sections),  # last: it holds what others wrote
    ):
        page = page.replace(f"@@{name}@@", text, 1)
    return page


def _section(number: int, item: FormItem, question: str) -> str:
    pictures = "".join(
        f'<label class="side"><img alt="{side} image" src="{_data_url(data)}">'
        f'<span><input type="radio" name="v{number}" value="{side}"> '
        f"{side.capitalize()} <kbd>{key}</kbd></span></label>"
        for side, data, key in (("left", item.left, "1"), ("right", item.right, "3"))
    )
    return (
        f'<fieldset class="pair" data-item="{number}"><legend>{number}</legend>'
        f'<p class="prompt">{html.escape(item.prompt)}</p><div class="sides">{pictures}</div>'
        f'<label class="tie"><input type="radio" name="v{number}" value="tie"> '
        "No preference <kbd>2</kbd></label></fieldset>"
    )


def _data_url(data: bytes) -> str:
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
