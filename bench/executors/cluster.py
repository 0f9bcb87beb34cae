"""A Ray cluster that is there already: reached, and looked at before anything is sent to it."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.api.errors import BenchError, PrerequisiteError, UsageError
from bench.store import alike
from bench.store.provenance import PACKAGES

AUTO = "auto"
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 120.0


class Cluster:
    """A connection to a cluster; one in a process at a time.

    Args:
        address: `host:port` of its head, or `"auto"` where this machine is a part of it.

    Raises:
        UsageError: nothing answers there, or it is no cluster this process can be part of.
        PrerequisiteError: Ray is not installed.
    """

    def __init__(self, address: str = AUTO) -> None:
        _require_answer(address)
        self.ray = _import_ray()
        self.address = address
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            self.ray.init(
                address=address,
                logging_level="ERROR",
                log_to_driver=False,
                configure_logging=False,
                ignore_reinit_error=False,
            )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UsageError(
                f"--executor ray: no cluster was reached at {address} ({reason}).\n"
                "  to mend it: start it with `ray start --head`, and give the address it prints by "
                "--ray-address, on a machine that is a part of it"
            ) from None
        self.ray.cloudpickle.register_pickle_by_value(alike)

    def close(self) -> None:
        """End the connection; what it started there ends with it."""
        self.ray.cloudpickle.unregister_pickle_by_value(alike)
        self.ray.shutdown()

    def machines(self) -> list[Mapping[str, Any]]:
        """Return what Ray says of each machine that is alive."""
        return [node for node in self.ray.nodes() if node["Alive"]]

    def units(self, unit: str) -> int:
        """Return how many of a resource, `"CPU"` or `"GPU"`, the machines have that are alive."""
        return sum(int(node["Resources"].get(unit, 0)) for node in self.machines())

    def most_on_one(self, unit: str) -> int:
        """Return how many of a resource one machine has at most."""
        found = (int(node["Resources"].get(unit, 0)) for node in self.machines())
        return max(found, default=0)

    def require_alike(self, root: Path) -> None:
        """Look whether all machines have this package, the same libraries and the same store.

        Args:
            root: of the store.

        Raises:
            BenchError: one of them has not; one line for each machine.
        """
        root.mkdir(parents=True, exist_ok=True)
        token = root / f".seen-by-all-{uuid4().hex}"
        text = uuid4().hex
        token.write_text(text, encoding="utf-8")
        machines = {node["NodeID"]: node["NodeManagerHostname"] for node in self.machines()}
        answers = {key: Path(f"{token}-{key}") for key in machines}
        try:
            asked = {key: self._ask(key, token, answer) for key, answer in answers.items()}
            here = alike.installed(PACKAGES)
            wrong: list[str] = []
            for key, name in machines.items():
                told = self._answer(asked[key], name)
                wrong += complaints(here, told, token=text, store=root, answer=answers[key])
        finally:
            for file in (token, *answers.values()):
                file.unlink(missing_ok=True)
        if wrong:
            raise BenchError("\n".join(["--executor ray: the machines are not alike", *wrong]))

    def _ask(self, node: str, token: Path, answer: Path) -> Any:
        """Ask one machine; what is returned stands for its answer."""
        ray = self.ray
        where = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        asked = ray.remote(alike.look).options(num_cpus=0, scheduling_strategy=where, max_retries=0)
        return asked.remote(str(token), str(answer), PACKAGES)

    def _answer(self, asked: Any, machine: str) -> dict[str, Any]:
        ray = self.ray
        try:
            told = ray.get(asked, timeout=_LOOK_SECONDS)
        except ray.exceptions.GetTimeoutError:
            told = {"fault": f"did not answer for {_LOOK_SECONDS:.0f} s"}
        except ray.exceptions.RayError as error:
            told = {"fault": f"could not answer: {str(error).strip().splitlines()[-1]}"}
        return {"machine": machine, **told}


def complaints(
    here: Mapping[str, str], told: Mapping[str, Any], *, token: str, store: Path, answer: Path
) -> list[str]:
    """Return what is wrong with one machine, a line each.

    Args:
        here: what is installed where the command was given.
        told: what `alike.look` returned there, or `fault`.
        token: what stands in the file it was to read.
        store: root of the store.
        answer: the file it was to write.
    """
    name = told["machine"]
    if "fault" in told:
        return [f"  {name} {told['fault']}"]
    there = told["installed"]
    unlike = [
        f"{part} {there.get(part, 'missing')} (here {own})"
        for part, own in here.items()
        if there.get(part) != own
    ]
    wrong = []
    if unlike:
        wrong.append(f"  {name} has {', '.join(unlike)}; install there what is here")
    if told["read"] != token:
        wrong.append(
            f"  {name} does not see the store {store} ({told['read'][:80]}); put it on storage "
            "that all machines share, at one path, and name it with --store"
        )
    elif not answer.is_file() or alike.text_of(answer) != token:
        wrong.append(f"  what {name} writes into {store} is not seen here; is it the same storage?")
    return wrong


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise PrerequisiteError(
            f"--executor ray needs Ray ({error})", fix='pip install "align-bench[ray]"'
        ) from None
    importlib.import_module("ray.util.scheduling_strategies")
    return ray


def _require_answer(address: str) -> None:
    """Ask the address itself first: Ray waits for minutes where nothing answers (UsageError)."""
    if address == AUTO:
        return
    host, found, port = address.rpartition(":")
    if not found or not port.isdigit() or "/" in host or not host:
        raise UsageError(
            f"--ray-address {address}: expected the HOST:PORT that `ray start --head` prints, or "
            f"{AUTO} on a machine of the cluster."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--ray-address {address}: nothing answers there ({error}). `ray start --head` prints "
            "the address of a cluster; `ray status` says whether it runs."
        ) from None
