"""Imports at the top of a module that are carried out at the first use.

    with lazy():
        from equilif.hardware import export

The command line declares its options in modules that import what its commands call: ``--help`` loads none of
it.  Modules of this project only: ``from module import name`` is an ImportError there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from equilif_golden.extras import OWN_PACKAGES


class _Deferred(ModuleType):
    """A module that is executed when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        spec: Any = self.__spec__
        places = spec.submodule_search_locations
        is_path = name == "__path__" and places is not None
        if FINDER in sys.meta_path and is_path:
            return places
        # the import system asks for other names; for __path__ where it imports a module of a package
        if FINDER in sys.meta_path or name.startswith("__") and not is_path:
            raise AttributeError(name)
        execute(self)
        return getattr(self, name)


def execute(module: Any) -> None:
    """Execute a deferred module after the package that it is in.

    MissingExtra if it needs a package that is not installed.
    """
    if not isinstance(module, _Deferred):
        return
    package = module.__name__.rpartition(".")[0]
    if package:
        execute(sys.modules[package])
    spec: Any = module.__spec__
    module.__class__ = ModuleType  # type: ignore[assignment]
    spec.loader = module.__loader__ = spec.loader_state
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        module.__class__ = _Deferred
        spec.loader = FINDER
        FINDER.exec_module(module)
        raise


class _Finder(MetaPathFinder, Loader):
    """Finds modules of this project, and leaves them to their first use."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        own = name.partition(".")[0] in OWN_PACKAGES
        spec = PathFinder.find_spec(name, path, target) if own else None
        if spec is not None:
            spec.loader_state, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.pop("__path__", None)


FINDER = _Finder()


@contextmanager
def lazy() -> Iterator[None]:
    """Around imports of modules: each is executed at its first use."""
    sys.meta_path.insert(0, FINDER)
    try:
        yield
    finally:
        sys.meta_path.remove(FINDER)
