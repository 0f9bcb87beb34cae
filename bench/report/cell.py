"""`bench show cell`: one value of a table, and the chain of artifacts behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, UsageError, unknown
from bench.store.processor import made_on


def cell_card(name: str, store_root: Path, source: Path | None) -> dict[str, Any]:
    """Return the card of `TABLE/ROW/COLUMN[/SEED]`.

    Args:
        name: the cell; its seed is the training seed, of a row without training the noise seed;
            without one the first of the row.
        store_root: where artifacts are, and the table unless `source` says otherwise.
        source: folder of a published table, or of several.

    Raises:
        UsageError: the table was not run, or has no such cell.
    """
    from bench.report import words
    from bench.report.model import cell_to_json
    from bench.report.pairing import seed_of
    from bench.report.stored import read_table

    table, row, column, seed = _parts(name)
    folder = store_root / "tables" / table if source is None else source
    if source is not None and (source / f"table-{table}").is_dir():
        folder = source / f"table-{table}"
    data = read_table(folder).data
    keys = {f"{table}/{c.row}/{c.column}" for c in data.cells}
    found = [c for c in data.of(row, column) if seed is None or seed_of(c) == seed]
    if not found:
        raise unknown("cell", name, keys)
    cell = found[0]
    card: dict[str, Any] = {
        "cell": f"{table}/{row}/{column}/{seed_of(cell)}",
        "training seed": cell.training_seed,
        "noise seed": cell.noise_seed,
        "profile": data.profile["name"],
        "partial": data.limit,
        "state": cell.state,
    }
    if cell.reason:
        card["reason"] = cell.reason
    if cell.estimate is not None:
        e = cell.estimate
        card |= {"value": e.value, "low": e.low, "high": e.high, "stderr": e.stderr}
        card |= {"interval": e.interval, "images": e.n, "prompts": e.clusters}
    published = data.published.get(row, {}).get(column)
    if published is not None:
        quoted = " (quoted)" if published["quoted"] else ""
        card["published"] = f"{published['value']}{quoted}, {published['source']}"
    if cell.provenance.get("circular"):
        card["circular"] = (
            f"{', '.join(cell.provenance['circular'])} selected the training data or was the reward"
        )
    card["commit"] = cell.provenance.get("commit")
    if cell.parts:
        shown = cell_to_json(cell)["parts"]
        card["parts"] = [
            {"metric": part, "value": e["value"], "low": e["low"], "high": e["high"], "n": e["n"]}
            for part, e in shown.items()
        ]
    artifacts = cell.provenance.get("artifacts", {})
    card["chain"] = [_link(role, key, store_root) for role, key in artifacts.items()]
    lines = words.protocol_lines(cell.protocol) if cell.protocol else []
    card["description"] = "\n".join(lines)
    return card


def _parts(name: str) -> tuple[str, str, str, int | None]:
    parts = name.split("/")
    if len(parts) not in (3, 4) or (len(parts) == 4 and not parts[3].isdecimal()):
        raise UsageError(
            f"{name!r} is no cell; expected TABLE/ROW/COLUMN or TABLE/ROW/COLUMN/SEED, such as "
            "1a/ddspo/GE/0."
        )
    return parts[0], parts[1], parts[2], int(parts[3]) if len(parts) == 4 else None


def _link(role: str, key: str, store_root: Path) -> dict[str, Any]:
    """Return what the store knows of one artifact of the chain."""
    from bench.store import Store

    link: dict[str, Any] = {"role": role, "artifact": key, "made": None, "seconds": None}
    link |= {"commit": None, "made_on": None}
    try:
        manifest = Store(store_root).get(key).manifest
    except (UsageError, CorruptArtifactError):
        return {**link, "made": "not in this store"}
    provenance = manifest.get("provenance", {})
    commit = (provenance.get("git") or {}).get("commit")
    return {
        **link,
        "made_on": made_on(provenance),
        "made": manifest.get("created"),
        "seconds": manifest.get("wall_seconds"),
        "commit": str(commit)[:12] if commit else None,
    }
