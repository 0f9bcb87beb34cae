"""The HPSv2 benchmark's official layout: <style>/00000.jpg, numbered as the style's prompts.

Source: tgxs002/HPSv2: hpsv2/evaluation.py.
"""

from __future__ import annotations

from pathlib import Path

from bench.api import ImageSet, PromptSuite, ProtocolError, UsageError
from bench.api.folder import image_set, is_picture


def read_official(root: Path, *, suite: PromptSuite | None = None) -> ImageSet:
    """Read the HPSv2 benchmark's layout: `<style>/00000.jpg`, numbered as the style's prompts.

    The official reader skips what is missing and takes the folders it finds for the styles; here
    every prompt of the suite needs its image.

    Args:
        root: holds a folder for each tag of the suite.
        suite: the prompts in the order of their numbers.

    Raises:
        UsageError: no such folder, or no suite is named.
        ProtocolError: a file or a folder is of no prompt.
        IncompleteError: a file is missing.
    """
    if not root.is_dir():
        raise UsageError(f"{root} is no folder; expected one holding anime, photo, ...")
    if suite is None:
        raise UsageError("the layout names no prompts; add --suite hpdv2")
    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    expected: set[Path] = set()
    for tag in suite.tags:
        present = {p.stem: p for p in sorted((root / tag).glob("*")) if is_picture(p)}
        for number, prompt in enumerate(p for p in suite if p.tag == tag):
            path = present.get(f"{number:05d}")
            if path is not None:
                files[prompt.id, 0] = (path.relative_to(root).as_posix(), None)
                expected.add(path)
    beyond = sorted(p for p in root.glob("*/*") if is_picture(p) and p not in expected)
    if beyond:
        raise ProtocolError(
            f"{root} holds {len(beyond)} pictures of no prompt of {suite.name}, e.g. "
            f"{beyond[0].relative_to(root)}; expected <style>/00000.jpg, one for each prompt"
        )
    return image_set(root, suite, files)
