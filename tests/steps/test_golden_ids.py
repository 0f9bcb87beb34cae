"""The ids of Table 1a's artifacts in the tiny profile do not change by accident.

An id is where a result lies: another id means that everything behind it is made again. Where that
is meant, write the list anew and say so under Numbers in CHANGELOG.md:

    python -m tests.steps.test_golden_ids
"""

from __future__ import annotations

from pathlib import Path

from bench.spec.request import make_request
from bench.steps.cells import build_graph
from bench.store import Store

GOLDEN = Path(__file__).parent / "golden" / "table-1a-tiny.txt"


def ids(store: Path) -> list[str]:
    """Every node of Table 1a, controls and two training seeds included."""
    request = make_request("1a", "tiny", controls=True, seeds=(0, 1))
    return sorted(node.id for node in build_graph(request, Store(store)).graph)


def test_the_ids_of_table_1a_are_those_of_the_published_results(tmp_path: Path) -> None:
    golden = GOLDEN.read_text().split()
    assert len(golden) > 200
    found = ids(tmp_path)
    changed = sorted(set(golden) ^ set(found))
    assert not changed, f"{len(changed)} ids changed, the first: {changed[:4]}"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        GOLDEN.write_text("\n".join(ids(Path(folder))) + "\n")
