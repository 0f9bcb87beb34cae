"""What a paper says of a table beside its numbers: claims to be judged, facts to be told.

A claim is a sentence in machine form, "this row beats that row in this column". One line may stand
for several: `{best: X, columns: [A, B]}` is X against each other row in A and in B. A fact is a
published statement that no cell carries; nobody measured it here, and it is printed as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bench.api.errors import UsageError
from bench.config import construct, sequence
from bench.spec.placed import SpecError as SpecError
from bench.spec.placed import placed


class Require(Protocol):
    """Raises UsageError unless the table can compare these rows in this column."""

    def __call__(self, *rows: str, column: str) -> None:
        """Look them up."""


@dataclass(frozen=True, kw_only=True)
class ClaimSpec:
    """Row `better` beats row `worse` in `column`.

    Attributes:
        circular: as in `bench.stats.claims`.
        planned: one of the table's primary claims. They are judged in the order of the file,
            before all others.
        best: one of the comparisons that "`better` is the best in `column`" consists of.
    """

    better: str
    worse: str
    column: str
    circular: bool = False
    planned: bool = False
    best: bool = False

    def __post_init__(self) -> None:
        if self.better == self.worse:
            raise UsageError(f"a row cannot beat itself: better and worse are {self.better!r}.")
        for name in ("circular", "planned", "best"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}; expected true or false.")

    @property
    def pair(self) -> tuple[str, str, str]:
        """What is compared."""
        return self.better, self.worse, self.column

    def to_json(self) -> dict[str, Any]:
        """Return plain data; what is false came later than the first tables and is left out."""
        data = asdict(self)
        return {k: v for k, v in data.items() if v or k not in ("planned", "best")}


@dataclass(frozen=True, kw_only=True)
class BestSpec:
    """Row `best` is the best of the paper's rows in each of `columns`.

    Attributes:
        best: row key.
        columns: column keys.
        among: the rows it is compared with; None takes all that have a published value there.
        planned: as in `ClaimSpec`.
    """

    best: str
    columns: Sequence[str]
    among: Sequence[str] | None = None
    planned: bool = False

    def claims(self, published: Mapping[str, Mapping[str, Any]]) -> Iterator[ClaimSpec]:
        """Yield the comparisons.

        Args:
            published: by row, then column.

        Raises:
            UsageError: there is nothing to compare the row with.
        """
        for column in sequence(self.columns, "columns"):
            others = self.among
            if others is None:
                others = [row for row, cells in published.items() if column in cells]
            others = [row for row in sequence(others, "among") if row != self.best]
            if not others:
                raise UsageError(
                    f"{self.best!r} is called the best in {column!r}, where no other row has a "
                    "published value; name its rivals with among: [ROW, ...]."
                )
            for row in others:
                yield ClaimSpec(
                    better=self.best, worse=row, column=column, planned=self.planned, best=True
                )


@dataclass(frozen=True, kw_only=True)
class RatioSpec:
    """The gain of one row over the base as a multiple of another row's gain, in one column.

    Attributes:
        of: row whose gain is the numerator.
        to: row whose gain is the denominator.
        base: row that both are compared with.
        column: column key.
        published: the ratio the paper states.
    """

    of: str
    to: str
    base: str
    column: str
    published: float

    def __post_init__(self) -> None:
        if len(set(self.rows)) != 3:
            raise UsageError("a ratio of gains needs three unlike rows: of, to and base.")

    @property
    def rows(self) -> tuple[str, str, str]:
        """The rows it is made of."""
        return self.of, self.to, self.base


@dataclass(frozen=True, kw_only=True)
class FactSpec:
    """A published statement that no cell of the table carries.

    Attributes:
        says: the statement.
        source: who says so, and where.
        ratio: of a statement about two gains: what is measured beside it.
    """

    says: str
    source: str
    ratio: RatioSpec | None = None

    def __post_init__(self) -> None:
        for name in ("says", "source"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise UsageError(f"a fact needs {name}: a text.")

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        data = {"says": " ".join(self.says.split()), "source": self.source}
        return data if self.ratio is None else {**data, "ratio": asdict(self.ratio)}


def read_claims(
    entries: Any, where: str, published: Mapping[str, Mapping[str, Any]], require: Require
) -> tuple[ClaimSpec, ...]:
    """Return a table's claims, those of "the best" spelled out.

    Args:
        entries: as a file has them.
        where: the table, for messages.
        published: by row, then column.
        require: knows the table's rows and columns.

    Raises:
        SpecError: an entry is wrong or names an unknown row or column, a comparison occurs twice
            (it would count twice in the correction for many claims), or a planned one stands
            after one that is not.
    """
    claims: dict[tuple[str, str, str], ClaimSpec] = {}
    last = -1
    for number, entry in enumerate(sequence(entries, f"{where}: claims")):
        at = f"{where}, claim {number + 1}"
        with placed(at, "claims", number):
            found = _claims_of(entry, at, published, require)
            for claim in found:
                require(claim.better, claim.worse, column=claim.column)
                if claim.pair in claims:
                    raise UsageError(
                        f"{claim.better} > {claim.worse} on {claim.column} is claimed twice."
                    )
                if claim.planned and last >= 0:
                    raise UsageError(
                        f"it is planned and stands after claim {last + 1}, which is not; planned "
                        "claims come first, in the order they are judged in."
                    )
                claims[claim.pair] = claim
            if last < 0 and not all(claim.planned for claim in found):
                last = number
    return tuple(claims.values())


def _claims_of(
    entry: Any, where: str, published: Mapping[str, Mapping[str, Any]], require: Require
) -> list[ClaimSpec]:
    if not (isinstance(entry, Mapping) and "best" in entry and "better" not in entry):
        return [construct(ClaimSpec, entry, where)]
    best = construct(BestSpec, entry, where)
    for column in sequence(best.columns, f"{where}: columns"):
        require(best.best, *(best.among or ()), column=column)
    return list(best.claims(published))


def read_facts(entries: Any, where: str, require: Require) -> tuple[FactSpec, ...]:
    """Return a table's facts (SpecError where one is wrong, or names what the table has not)."""
    facts = []
    for number, entry in enumerate(sequence(entries, f"{where}: facts")):
        at = f"{where}, fact {number + 1}"
        with placed(at, "facts", number):
            if isinstance(entry, Mapping) and entry.get("ratio") is not None:
                ratio = construct(RatioSpec, entry["ratio"], f"{at}: ratio")
                require(*ratio.rows, column=ratio.column)
                entry = {**entry, "ratio": ratio}
            facts.append(construct(FactSpec, entry, at))
    return tuple(facts)
