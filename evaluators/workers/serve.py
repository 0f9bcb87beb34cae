"""The worker's side of the isolated-environment protocol. Standard library only, Python >= 3.8.

    PYTHON serve.py WORKER.py REQUESTS_FD RESULTS_FD [--describe]

WORKER.py has `NAME`, `VERSION`, `PACKAGES` (distributions whose versions can change its numbers)
and `load(options, weights, device)`, which returns an object with `score(items)`: a list with one
JSON-able value per item, in order. Messages are JSON objects, one a line, on two pipes of their
own: whatever a library writes to the standard streams cannot get between them.

    worker: hello    protocol, worker, version, python, packages   (before anything is imported)
    host:   start    options, weights {name: path}, device, heartbeat_seconds, guard
    worker: ready    weights {name: sha256}
    host:   score    items [{"id": ..., ...}]
    worker: result   id, value        once per item
            done                      after the last one
            failed   error, out_of_memory, trace   in place of all results of the call
            beat                      at least every heartbeat_seconds
    host:   stop, or the end of its pipe: the worker ends

A host that has gone away is noticed at the next beat.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import sys
import threading
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what follows is not evaluated, and would fail before Python 3.9
    from collections.abc import Callable

    Send = Callable[[dict[str, Any]], None]

PROTOCOL = 1
_CHUNK = 1 << 20
_TRACE_LINES = 12


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def content_sha256(path: Path, of_file: Callable[[Path], str] = file_sha256) -> str:
    """Return the sha256 of a file, or of a folder's listing of names and contents.

    Args:
        path: file or folder; hidden files do not count.
        of_file: how a file's hash is found.
    """
    if path.is_file():
        return of_file(path)
    files = sorted(f for f in _files_below(path) if not f.name.startswith("."))
    listing = {f.relative_to(path).as_posix(): of_file(f) for f in files}
    return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """Return the files below a folder and linked folders (`bench.api.files.files_below`)."""
    real = folder.resolve()
    if real in above:
        raise OSError(f"{folder} links to a folder that it lies in; remove that link")
    found: list[Path] = []
    for path in folder.iterdir():
        if path.is_dir():
            found += _files_below(path, (*above, real))
        elif path.is_file():
            found.append(path)
    return found


def versions(packages: list[str]) -> dict[str, str | None]:
    """Return the installed version of each distribution, None for one that is not there."""
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def load_module(path: Path, name: str) -> Any:
    """Import a file as a module."""
    spec = importlib.util.spec_from_file_location(name, str(path))
    if spec is None or spec.loader is None:
        raise ImportError("cannot import {}".format(path))  # noqa: UP032
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    """Serve until the host says stop or goes away."""
    here = Path(__file__).resolve().parent  # its folders are named like packages; none is meant
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != here]
    worker = load_module(Path(arguments[0]), "isolated_worker")
    lock = threading.Lock()
    results = os.fdopen(int(arguments[2]), "w", encoding="utf-8")

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message, allow_nan=True)
        try:
            with lock:
                results.write(line + "\n")
                results.flush()
        except (BrokenPipeError, ValueError):
            os._exit(3)  # the host is gone; nobody reads what would be computed

    hello = {
        "type": "hello",
        "protocol": PROTOCOL,
        "worker": worker.NAME,
        "version": worker.VERSION,
        "python": platform.python_version(),
        "packages": versions(list(worker.PACKAGES)),
    }
    send(hello)
    if "--describe" in arguments:
        return 0
    with os.fdopen(int(arguments[1]), "r", encoding="utf-8") as requests:
        first = requests.readline()
        if not first:
            return 0
        start = json.loads(first)
        _beat(send, float(start["heartbeat_seconds"]))
        try:
            model, hashes = _load(worker, start)
        except Exception as error:
            send(_failure(error))
            return 1
        send({"type": "ready", "weights": hashes})
        for line in requests:
            message = json.loads(line)
            if message["type"] == "stop":
                return 0
            _score(model, message["items"], send)
    return 0


def _load(worker: Any, start: dict[str, Any]) -> Any:
    if start.get("guard"):
        load_module(Path(start["guard"]), "torchvision_guard").install()
    hashes = {name: content_sha256(Path(path)) for name, path in start["weights"].items()}
    expected = start.get("expected", {})
    # a model is not even unpacked from bytes that are not the expected ones
    wrong = sorted(name for name in expected if hashes.get(name) != expected[name])
    model = None if wrong else worker.load(start["options"], start["weights"], start["device"])
    return model, hashes


def _score(model: Any, items: list[dict[str, Any]], send: Send) -> None:
    try:
        values = model.score(items)
        if len(values) != len(items):
            raise ValueError(
                "score() returned %d values for %d items" % (len(values), len(items))  # noqa: UP031
            )
        lines = [{"type": "result", "id": i["id"], "value": v} for i, v in zip(items, values)]  # noqa: B905
        json.dumps(lines)
    except Exception as error:
        send(_failure(error))
        _free_memory()
        return
    for line in lines:
        send(line)
    send({"type": "done"})


def _failure(error: BaseException) -> dict[str, Any]:
    text = "%s: %s" % (type(error).__name__, error)  # noqa: UP031
    memory = type(error).__name__ == "OutOfMemoryError" or "out of memory" in text.lower()
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {
        "type": "failed",
        "error": text,
        "out_of_memory": memory,
        "trace": lines.splitlines()[-_TRACE_LINES:],
    }


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _beat(send: Send, seconds: float) -> None:
    def beat() -> None:
        pause = threading.Event()
        while not pause.wait(seconds):
            send({"type": "beat"})

    threading.Thread(target=beat, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
