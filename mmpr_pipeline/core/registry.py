"""Registries: implementations by name, the package's own and those that other installed distributions bring.

A distribution adds an implementation through an entry point, without a change to this package:

    [project.entry-points."mmpr.strategies"]
    mine = "my_package.pairs:Mine"

Nothing is imported until a name is asked for. What a third party brings can change what is in an output, so its
distribution and version belong to the output's identity (`origins`).
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from mmpr_pipeline.core.errors import MOST_NAMES, ConfigError, UnknownNameError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """The implementations of one kind, by name."""

    def __init__(self, group: str, kind: str, built_in: Mapping[str, str]) -> None:
        """`group`: the entry points' group, as `mmpr.engines`. `kind`: what one is, for messages, as `engine`.
        `built_in`: names of the package's own, each with its `module:attribute`, or `module`."""
        self.group = group
        self._kind = kind
        self._built_in = dict(built_in)
        self._added: dict[str, tuple[T, str]] = {}

    def names(self) -> list[str]:
        """All names: the package's own in their order, then the others in alphabetical order."""
        others = {*self._found(), *self._added} - self._built_in.keys()
        return [*self._built_in, *sorted(others)]

    def get(self, name: str) -> T:
        """The implementation; raises ConfigError, with the nearest names, where there is none or it fails to import."""
        if name in self._added:
            return self._added[name][0]
        if name in self._built_in:
            module, _, attribute = self._built_in[name].partition(":")
            found = importlib.import_module(module)
            return cast(T, getattr(found, attribute) if attribute else found)
        self.require(name)
        point = self._found()[name]
        try:
            return cast(T, point.load())
        except Exception as error:  # whatever a foreign module raises while it is imported
            raise ConfigError(
                f"The {self._kind} {name!r} of {_origin(point)} cannot be imported: {type(error).__name__}: {error}",
                remedy="Repair or uninstall that distribution.",
            ) from error

    def require(self, name: str) -> str:
        """The name, if there is such an implementation; raises UnknownNameError, with the nearest names, where not."""
        names = self.names()
        if name not in names:
            near = nearest(name, names, listing=False) or "."
            listed = ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
            raise UnknownNameError(
                f"There is no {self._kind} {name!r}{near}",
                remedy=f"Use one of {listed}, or install the distribution that brings it.",
            )
        return name

    def add(self, name: str, implementation: T, version: str) -> None:
        """Add an implementation in this process only. Raises ConfigError where the name is taken."""
        if name in self.names():
            raise ConfigError(f"The {self._kind} {name!r} is already registered.", remedy="Choose another name.")
        self._added[name] = implementation, version

    def origins(self, names: Iterable[str]) -> dict[str, str]:
        """Of the names that do not belong to this package: where each comes from, as `distribution 1.2.0`."""
        found = self._found()
        return {
            name: self._added[name][1] if name in self._added else _origin(found[self.require(name)])
            for name in names
            if name not in self._built_in
        }

    def _found(self) -> Mapping[str, EntryPoint]:
        """The group's entry points, kept until a place changes where distributions are installed: reading them takes
        10 ms, and a store is opened often."""
        places = []
        for place in sys.path:
            try:
                changed = os.stat(place or ".").st_mtime_ns
            except OSError:
                changed = 0
            places.append((place, changed))
        found = _INSTALLED.get(tuple(places))
        if found is None:
            installed = entry_points()
            found = {
                group: {point.name: point for point in installed.select(group=group)} for group in installed.groups
            }
            _INSTALLED.clear()
            _INSTALLED[tuple(places)] = found
        return found.get(self.group, {})


_INSTALLED: dict[tuple[tuple[str, int], ...], Mapping[str, Mapping[str, EntryPoint]]] = {}
"""Entry points by group and name; by the places where distributions are installed, and when those changed."""


def plugins_of(**origins: Mapping[str, str]) -> dict[str, object]:
    """The part of an identity that says what other distributions brought, by kind; empty where they brought nothing."""
    brought = {kind: names for kind, names in origins.items() if names}
    return {"plugins": brought} if brought else {}


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
