"""From a class to all that its numbers can come from: names are followed through source modules.

The definitions found are the nodes of a graph; the names in them, in the order they are written,
are its edges. `bench.store.source.digest` makes one digest of it that says what a name stands for
and not where that lies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from bench.api.errors import ContractError
from bench.store.source import purity
from bench.store.source.canonical import Facts, Unit
from bench.store.source.data import file_digest, files_named
from bench.store.source.digest import refined, sha256
from bench.store.source.grammar import Own, Ref
from bench.store.source.modules import HARNESS, Found, Module, Modules
from bench.store.source.names import WHOLE, Key, Names, Target

_NAMESPACE = frozenset(("globals", "exec", "eval"))
_LOCATION = frozenset(("__file__", "__path__", "__spec__", ".__file__", ".__path__", ".__spec__"))
_READERS = ("importlib.resources", "importlib_resources", "pkgutil", "pkg_resources")
_RUNNERS = ("SourceFileLoader", "exec_module", "run_path", "spec_from_file_location")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[\w.]+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a class reaches.

    Attributes:
        sha256: over all of it.
        files: by path, the digest of what is reached of a file.
        modules: by name of a module, the digest of all of it.
        packages: versions of the other distributions it uses, but for those whose versions are
            recorded with every result.
    """

    sha256: str
    files: Mapping[str, str]
    modules: Mapping[str, str]
    packages: Mapping[str, str]


@dataclass(kw_only=True, slots=True)
class _Node:
    text: str = ""
    edges: list[Key] = field(default_factory=list)


class Reach:
    """Collects what a class reaches.

    Args:
        modules: where modules are looked up.
        closed: see `bench.store.source.names.Names`.
        aside: methods that do not enter where no definition that is reached names them.
    """

    def __init__(
        self, modules: Modules, closed: tuple[str, ...], aside: frozenset[str] = frozenset()
    ) -> None:
        self.modules = modules
        self.closed = closed
        self.aside = aside
        self.names = Names(modules=modules, closed=closed)
        self._nodes: dict[Key, _Node] = {}
        self._queue: list[Key] = []
        self._run: dict[str, Module] = {}
        self._files: dict[str, str] = {}
        self._reads_files = False
        self._runs_harness = False

    def meaning(self, roots: tuple[str, ...]) -> Meaning:
        """Return what the first of the roots, `"module:qualified.name"`, means.

        Args:
            roots: the further ones are reached too: what it derives from, the name it is asked
                for by.
        """
        self._runs_harness = roots[0].startswith((f"{HARNESS}.", f"{HARNESS}:"))
        start = sha256(*self._start(roots[0], first=True))
        for root in roots[1:]:
            self._start(root, first=False)
        while self._queue:
            while self._queue:
                self._include(self._queue.pop())
            self._follow_effects()
        if any(self._names_aside(self._facts(key)) for key, _ in self._units()):
            return Reach(self.modules, self.closed).meaning(roots)
        return self._finished(start, roots[0])

    def _facts(self, key: Key) -> Facts:
        return self.names.unit(key).without(self.aside)

    def _names_aside(self, facts: Facts) -> bool:
        named = (*facts.strings, *(word.removeprefix(".") for word in facts.words))
        return not self.aside.isdisjoint(named)

    def _start(self, root: str, *, first: bool) -> list[str]:
        name, _, path = root.partition(":")
        found = self.modules.find(name)
        if first and found.kind in ("other", "missing"):
            raise ContractError(
                f"the source of {root} cannot be followed: {name} is found as {found.kind} "
                "software; put the class in a module of your own."
            )
        if found.kind in ("other", "missing") or not (first or self.names.is_source(found)):
            return []
        self._execute([name])
        module = self.modules.read(found)
        top, *inner = path.split(".")
        meant = list(self.names.named(module, top, tuple(inner)))
        if not any(target.key for target in meant) or "<locals>" in path:
            meant.append(Target("(all)", (name, WHOLE)))
        if first and meant[0].key is not None:
            self.names.root = meant[0].key
            meant[0] = Target(".".join(("", *inner)), meant[0].key)
        for target in meant:
            self._follow(target)
        return [target.text for target in meant]

    def _follow(self, target: Target) -> None:
        self._reads_files |= target.library.startswith(_READERS)
        if target.key is not None and target.key not in self._nodes:
            self._nodes[target.key] = _Node()
            self._queue.append(target.key)

    def _include(self, key: Key) -> None:
        """Write a definition, and follow the names in it."""
        name, number = key
        module, node = self.names.module(name), self._nodes[key]
        self._execute([name])
        if number == WHOLE:
            self._include_module(module, node)
            return
        unit = module.units[number]
        texts: list[str] = []
        facts = unit.without(self.aside)
        dynamic = facts.dynamic
        for part in facts.parts:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, Own):
                texts.append("" if key == self.names.root else part.name)
            else:
                if isinstance(part, Ref):
                    targets = self.names.resolve(module, unit, part)
                else:
                    targets = list(self.names.imported(module, part))
                texts += self._written(node, targets)
                dynamic |= any(t.library.startswith("sys.modules") for t in targets)
        node.text = "".join(texts)
        self._execute([n for one in facts.imports for n in self.names.modules_of(module, one)])
        self._reads_files |= not _LOCATION.isdisjoint(facts.words)
        if dynamic:
            self._follow_dynamic(module)
        if dynamic or not _NAMESPACE.isdisjoint(facts.words):
            self._follow(Target("", (name, WHOLE)))

    def _include_module(self, module: Module, node: _Node) -> None:
        texts = ["(module"]
        for name in sorted(module.bound):
            texts += [name, *self._written(node, self.names.named(module, name))]
        for star in module.stars:
            found = self.names.absolute(module, star)
            texts += ["*", *self._written(node, self.names.walk(found, ()))]
        node.text = " ".join(texts)

    def _written(self, node: _Node, targets: Iterable[Target]) -> Iterator[str]:
        for target in targets:
            self._follow(target)
            if target.key is not None:
                node.edges.append(target.key)
            yield target.text

    def _follow_dynamic(self, module: Module) -> None:
        """Follow what an import by a computed name may mean: names in texts, and neighbours."""
        found = module.found
        near: list[Found] = []
        for unit in module.units:
            for text in unit.full.strings:
                if _DOTTED.fullmatch(text):
                    near.append(self.modules.find(text.partition(":")[0]))
        if module.package:
            near += self.modules.inside(self.modules.find(module.package))
        else:
            near += self.modules.beside(found)
        for one in near:
            if one.file is not None and self.names.is_source(one):
                self._follow(Target("", (one.name, WHOLE)))

    # What runs when modules are imported

    def _execute(self, names: list[str]) -> None:
        """Note that modules are imported, with the packages around them and all they import."""
        queue = list(names)
        while queue:
            name = queue.pop()
            if name in self._run:
                continue
            found = self.modules.find(name)
            harness = found.kind == "ours" and name.partition(".")[0] == HARNESS
            if not self.names.is_source(found) or (harness and not self._runs_harness):
                continue
            module = self._run[name] = self.modules.read(found)
            if "." in name:
                queue.append(name.rpartition(".")[0])
            for one in module.imports_run:
                queue += self.names.modules_of(module, one)

    def _follow_effects(self) -> None:
        """Follow statements that act when their module is imported, though nobody names them."""
        subclasses = any(".__subclasses__" in unit.full.words for _, unit in self._units())
        for name, module in list(self._run.items()):
            for number, unit in enumerate(module.units):
                if (name, number) in self._nodes:
                    continue
                if (subclasses and unit.kind == "class") or self._acts(module, unit):
                    self._follow(Target("", (name, number)))

    def _acts(self, module: Module, unit: Unit) -> bool:
        if unit.shallow.effect or unit.keywords:
            return True
        bases = (t for base in unit.bases for t in self.names.resolve(module, unit, base))
        if any(self._any_class(target, _registers) for target in bases):
            return True
        called = (t for ref in unit.shallow.runs for t in self.names.resolve(module, unit, ref))
        return not all(map(self._harmless, called))

    def _harmless(self, target: Target) -> bool:
        """Whether calling a target makes a value only; where in doubt, it does not."""
        if target.library:
            return purity.library_call(target.library)
        if target.key is None:
            return purity.plain_call(target.text)
        if target.key[1] == WHOLE:
            return False
        if target.attributes:
            return purity.method_call(target.attributes)
        return self.names.unit(target.key).kind == "class" and not self._any_class(target, _builds)

    def _any_class(
        self, target: Target, test: Callable[[Unit], bool], seen: frozenset[Key] = frozenset()
    ) -> bool:
        """Whether a class, or one it derives from, passes a test, as far as they are source."""
        if target.key is None or target.key[1] == WHOLE or target.key in seen:
            return False
        module, unit = self.names.module(target.key[0]), self.names.unit(target.key)
        above = (t for base in unit.bases for t in self.names.resolve(module, unit, base))
        return test(unit) or any(self._any_class(t, test, seen | {target.key}) for t in above)

    # The digest

    def _units(self) -> Iterator[tuple[Key, Unit]]:
        for key in self._nodes:
            if key[1] != WHOLE:
                yield key, self.names.unit(key)

    def _finished(self, start: str, root: str) -> Meaning:
        facts = {key: self._facts(key) for key, _ in self._units()}
        words = frozenset(word for one in facts.values() for word in one.words)
        runs_files = not words.isdisjoint((*_RUNNERS, *(f".{one}" for one in _RUNNERS)))
        documented = not words.isdisjoint((".__doc__", "__doc__", ".getdoc", "getdoc"))
        for key, unit in facts.items():
            module = self.names.module(key[0])
            node = self._nodes[key]
            if documented:
                node.text += sha256(module.doc, *unit.docs)
            for name, path in dict.fromkeys(
                files_named(
                    self.modules,
                    module,
                    unit.strings,
                    reads_files=self._reads_files,
                    runs_files=runs_files,
                )
            ):
                digest = self._files[str(path)] = file_digest(self.modules, path)
                node.text += f"(file {name} {digest})"
        self._keep_order()
        digests = refined({key: (node.text, node.edges) for key, node in self._nodes.items()})
        named = root.partition(":")[2] if words & {".__name__", ".__qualname__"} else ""
        first = "" if self.names.root is None else digests[self.names.root]
        return Meaning(
            sha256=sha256(start, named, first, *sorted(digests.values())),
            files={**self._by_file(), **self._files},
            modules={
                name: module.digest for name, module in self._run.items() if module.found.file
            },
            packages=dict(sorted(self.names.packages.items())),
        )

    def _keep_order(self) -> None:
        """Where a module's statements act or bind a name anew, let their order count."""
        reached: dict[str, list[int]] = {}
        for key, _ in self._units():
            reached.setdefault(key[0], []).append(key[1])
        for name, numbers in reached.items():
            module = self.names.module(name)
            again = {n for m in module.bound.values() if len(m) > 1 for n in m if n in numbers}
            acting = {n for n in numbers if self._acts(module, module.units[n])}
            if not again and not acting:
                continue
            ordered = sorted(
                n
                for n in numbers
                if n in again or n in acting or module.units[n].kind == "statement"
            )
            for before, after in pairwise(ordered):
                self._nodes[name, after].edges.append((name, before))
                self._nodes[name, after].text += "(after)"

    def _by_file(self) -> dict[str, str]:
        texts: dict[str, list[str]] = {}
        for key, node in self._nodes.items():
            file = self.names.module(key[0]).found.file
            if file is not None:
                texts.setdefault(str(file), []).append(node.text)
        return {file: sha256(*sorted(found)) for file, found in sorted(texts.items())}


def _registers(unit: Unit) -> bool:
    return unit.keywords or "__init_subclass__" in unit.defines


def _builds(unit: Unit) -> bool:
    return not purity.CONSTRUCTORS.isdisjoint(unit.defines)
