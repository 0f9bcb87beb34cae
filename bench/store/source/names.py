"""What a name in a module stands for: names and imports are followed to where they are defined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.store.source.canonical import Unit
from bench.store.source.grammar import Import, Ref
from bench.store.source.modules import Found, Module, Modules

WHOLE = -1
"""In the place of a unit's number: all that the module has."""

Key = tuple[str, int]
"""A definition: module, number of its unit."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means.

    Attributes:
        text: says it without the places of modules that count as source.
        key: the definition, where its source counts.
        library: dotted, where it is another distribution's or Python's.
        attributes: what is taken of a definition.
    """

    text: str
    key: Key | None = None
    library: str = ""
    attributes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Names:
    """Resolves names.

    Attributes:
        modules: where modules are looked up.
        closed: modules and packages of this distribution of which definitions are named and not
            followed.
        root: the definition that is not called by its name.
        packages: versions of the other distributions met, where they are not recorded anyway.
    """

    modules: Modules
    closed: tuple[str, ...]
    root: Key | None = None
    packages: dict[str, str] = field(default_factory=dict)

    def module(self, name: str) -> Module:
        """Return a module of source by its name."""
        return self.modules.read(self.modules.find(name))

    def unit(self, key: Key) -> Unit:
        """Return a statement."""
        return self.module(key[0]).units[key[1]]

    def is_source(self, found: Found) -> bool:
        """Whether the definitions of a module are followed."""
        if found.kind == "ours":
            return not any(f"{found.name}.".startswith(f"{one}.") for one in self.closed)
        return found.kind == "source"

    def resolve(self, module: Module, unit: Unit, ref: Ref) -> list[Target]:
        """Return what a name in a statement may mean, all of it where that depends."""
        found: list[Target] = []
        if unit.kind != "statement":
            for one in unit.full.imports:
                if one.bound == ref.name:
                    found += self.imported(module, one, ref.attributes)
        found += self.named(module, ref.name, ref.attributes)
        if found:
            return list(dict.fromkeys(found))
        stars = "".join(f"*{self.absolute(module, one)}" for one in module.stars)
        return [Target("$" + ".".join((ref.name, *ref.attributes)) + stars + ";")]

    def named(
        self,
        module: Module,
        name: str,
        attributes: tuple[str, ...] = (),
        seen: frozenset[tuple[str, str]] = frozenset(),
    ) -> Iterator[Target]:
        """Yield what a name of a module means; `seen` ends circles of imports."""
        if (module.found.name, name) in seen:
            return
        seen |= {(module.found.name, name)}
        meanings = module.bound.get(name, ())
        for meaning in meanings:
            if isinstance(meaning, Import):
                yield from self.imported(module, meaning, attributes, seen)
                continue
            key = (module.found.name, meaning)
            own = "" if key == self.root else name
            yield Target(f"(@{'.'.join((own, *attributes))})", key, "", attributes)
        for star in () if meanings else module.stars:
            found = self.modules.find(self.absolute(module, star))
            if self.is_source(found):
                yield from self.named(self.modules.read(found), name, attributes, seen)

    def imported(
        self,
        module: Module,
        one: Import,
        attributes: tuple[str, ...] = (),
        seen: frozenset[tuple[str, str]] = frozenset(),
    ) -> Iterator[Target]:
        """Yield what an import in a module gives."""
        if one.name != "*":
            taken = attributes if one.name is None else (one.name, *attributes)
            yield from self.walk(self.absolute(module, one), taken, seen)

    def walk(
        self, name: str, attributes: tuple[str, ...], seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Iterator[Target]:
        """Yield what a module's attributes mean: modules inside it, then names."""
        found = self.modules.find(name)
        if found.kind in ("other", "missing"):
            dotted = ".".join((name, *attributes))
            if found.owner is not None:
                self.packages[found.owner.name] = found.owner.version
            yield Target(f"(library {dotted})", None, dotted)
            return
        meant: list[Target] = []
        if attributes and self.is_source(found):
            meant += self.named(self.modules.read(found), attributes[0], attributes[1:], seen)
        below = self.modules.find(f"{name}.{attributes[0]}") if attributes else None
        if meant:
            yield from meant
        elif below is not None and below.kind != "missing":
            yield from self.walk(below.name, attributes[1:], seen)
        elif self.is_source(found):
            text = ".".join(("", *attributes))
            yield Target(f"(module {text})", (name, WHOLE), "", attributes)
        else:
            yield Target(f"(harness {'.'.join(attributes)})")

    def absolute(self, module: Module, one: Import) -> str:
        """Return the full name of the module that an import names."""
        if not one.level:
            return one.module
        parts = module.package.split(".") if module.package else []
        base = parts[: len(parts) - one.level + 1]
        return ".".join([*base, *([one.module] if one.module else [])])

    def modules_of(self, module: Module, one: Import) -> list[str]:
        """Return the modules of source that an import runs, but for the packages around them."""
        name = self.absolute(module, one)
        found = self.modules.find(name)
        if not self.is_source(found):
            return []
        if one.name not in (None, "*") and found.places:
            below = self.modules.find(f"{name}.{one.name}")
            if below.kind != "missing":
                return [name, below.name]
        return [name]
