"""Whether the packages beside this one are the harness's own. No torch."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bench.api.errors import ContractError

_ROOT = Path(__file__).resolve().parents[2]
_BESIDE = ("evaluators", "methods")
"""They lie beside `bench`, and have names that others may have, too."""


def require_own_packages() -> None:
    """Make sure that Python takes methods and evaluators from where `bench` lies.

    The working folder and PYTHONPATH come first: a copy that lies there would measure or train in
    place of what is installed, under its name and version.

    Raises:
        ContractError: it would take them from elsewhere.
    """
    for package in _BESIDE:
        spec = importlib.util.find_spec(package)
        places = (spec and spec.submodule_search_locations) or ()
        found = [Path(place).resolve() for place in places]
        if found != [_ROOT / package]:
            told = ", ".join(str(place) for place in found) or "nowhere"
            raise ContractError(
                f"the package {package!r} is found in {told}; expected the one that belongs to "
                f"bench, {_ROOT / package}. Run the command in another folder, take the other one "
                "off PYTHONPATH, or rename it."
            )
