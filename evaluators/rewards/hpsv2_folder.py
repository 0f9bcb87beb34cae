"""The HPSv2 benchmark's official layout: <style>/00000.jpg, numbered as the style's prompts.

Source: tgxs002/HPSv2: hpsv2/evaluation.py.
"""

from __future__ import annotations

from pathlib import Path

from bench.api import ImageSet, PromptSuite, ProtocolError, UsageError
from bench.api.folder import image_set
from bench.read.folders import listed, one_each
from bench.read.text import shown


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
    top = listed(root, expected="one holding anime, photo, ...")
    if suite is None:
        raise UsageError("the layout names no prompts; add --suite hpdv2")
    top.say(folder for folder in top.folders if folder.name in suite.tags)
    files: dict[tuple[str, int], tuple[str, str | None]] = {}
    expected: set[Path] = set()
    beyond = [p for f in top.folders if f.name not in suite.tags for p in listed(f).pictures()]
    for tag in suite.tags:
        listing = listed(root / tag) if (root / tag).is_dir() else None
        present = {} if listing is None else one_each(listing.pictures())
        if listing is not None:
            listing.say(present.values())
        for number, prompt in enumerate(p for p in suite if p.tag == tag):
            path = present.get(f"{number:05d}")
            if path is not None:
                files[prompt.id, 0] = (path.relative_to(root).as_posix(), None)
                expected.add(path)
        beyond += [path for path in present.values() if path not in expected]
    if beyond:
        raise ProtocolError(
            f"{shown(root)} holds {len(beyond)} pictures of no prompt of {suite.name}, e.g. "
            f"{beyond[0].relative_to(root)}; expected <style>/00000.jpg, one for each prompt"
        )
    return image_set(root, suite, files)
