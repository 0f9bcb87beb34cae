"""Files are read in `bench.read` and `bench.store`, and in few other places, each with a reason.

What users bring is odd in ways that nobody thinks of where a file is merely opened: `bench.read`
knows them. A new place is a decision: give its reason in `PLACES`.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.test_contract_imports import modules, within

READERS = ("bench.read", "bench.store")

# module or room -> why it reads files itself
PLACES: dict[str, str] = {
    "bench.api.files": "hashes the files that enter identities, and lists them as libraries do",
    "bench.api.observed": "records what plug-ins read, by the functions they call for it",
    "bench.assets.download": "writes files in parts, and goes on with what is there of one",
    "bench.backbones": "reads headers and single tensors of LoRAs at their places in the file",
    "bench.check.installation": "counts what lies in a store, finished or not, for doctor",
    "bench.environment": "counts the GPUs that the driver lists in its own folder",
    "bench.cli._output": "opens the null device in place of a stream that is closed",
    "bench.check.published": "finds the published folders below one, whatever their names",
    "bench.data.curation.engine": "opens masks of its own in the store, which are grey",
    "bench.data.parts": "writes its own parts into the store's working folder",
    "bench.data.readers": "hands Parquet files to pyarrow after a look at their heads",
    "bench.generation.parts": "lists shards of weights by their names, hidden ones too",
    "bench.report.comma": "writes csv, and reads none",
    "bench.tiny.build": "reads what the recipes of shipped weights wrote a moment before",
    "bench.torchvision_guard": "looks at an installed package before anything is imported",
    "bench.training": "reads and writes its own folder of a training in the store",
    "evaluators.isolated": "lists environments that it built itself",
    "evaluators.models.hub": "lists snapshots in the hub's cache, whose files are links",
    "evaluators.models.judge_cache": "appends replies to its own file in the cache",
    "evaluators.workers": "runs in other Python environments, without the readers",
}
MOST_PLACES = 20

METHODS = ("read_text", "read_bytes", "iterdir", "glob", "rglob", "open")
FUNCTIONS = (
    *("open", "os.walk", "os.scandir", "os.listdir", "os.open", "io.open"),
    *("Image.open", "glob.glob", "glob.iglob", "load_file", "safe_open"),
    *("torch.load", "torch.jit.load", "onnxruntime.InferenceSession"),
    *("np.load", "numpy.load", "np.loadtxt", "np.genfromtxt", "numpy.loadtxt", "np.fromfile"),
    *("pq.read_table", "pq.ParquetFile", "pq.read_metadata", "pandas.read_csv", "codecs.open"),
)
MODULES = ("csv",)
NO_FILES = ("webbrowser.open", "urllib.request.urlopen", "opener.open")


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of each call that reads a file or lists a folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module] if node.module in MODULES else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            method = isinstance(node.func, ast.Attribute) and node.func.attr in METHODS
            reads = (method and name not in NO_FILES) or name in FUNCTIONS
            found = [name] if reads else []
        else:
            continue
        yield from ((node.lineno, str(name)) for name in found)


def found() -> dict[str, list[str]]:
    """Return the calls of each module that is not one of the readers."""
    every = {
        name: [f"{line} {call}" for line, call in calls(tree)]
        for name, tree in modules().items()
        if not any(within(name, part) for part in READERS)
    }
    return {name: some for name, some in every.items() if some}


def test_files_are_read_by_the_readers() -> None:
    wrong = [
        f"{name}: {', '.join(some)}"
        for name, some in found().items()
        if not any(within(name, place) for place in PLACES)
    ]
    assert not wrong, "read it by bench.read:\n" + "\n".join(wrong)


def test_every_other_place_has_a_reason_and_is_one() -> None:
    assert len(PLACES) <= MOST_PLACES
    reading = found()
    for place, reason in PLACES.items():
        assert len(reason.split()) > 3, place
        assert any(within(name, place) for name in reading), f"{place} reads nothing any more"


@pytest.mark.parametrize(
    "text",
    [
        "open('x')", "p.open('rb')", "p.read_text()", "Path('x').read_bytes()", "import csv",
        "from csv import reader", "Image.open(p)", "p.iterdir()", "p.glob('*')", "os.walk(p)",
        "np.load(p)", "pq.read_table(p)", "load_file(p)", "torch.load(p)",
        "list(Path(p).rglob('*'))",
    ],
)  # fmt: skip
def test_the_rule_would_catch_it(text: str) -> None:
    assert list(calls(ast.parse(f"def f():\n    {text}\n")))


def test_the_rule_lets_the_readers_functions_pass() -> None:
    text = "read_text(p)\nread_bytes(p)\nread_picture(p)\nlisted(p)\nwebbrowser.open(p)\n"
    assert not list(calls(ast.parse(text)))
