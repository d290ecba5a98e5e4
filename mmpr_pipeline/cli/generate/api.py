"""docs/api.md: every public name of the package with its signature and docstring. `make docs` writes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import mmpr_pipeline

PAGE = Path(__file__).resolve().parents[3] / "docs" / "api.md"
_HEAD = """# Python API

`import mmpr_pipeline as mmpr`; every name below is `mmpr.NAME`. Written by `make docs` from the docstrings;
[From Python](python.md) shows them at work.
"""


def api() -> str:
    """The page."""
    parts = [_HEAD]
    for name in sorted(mmpr_pipeline.__all__, key=str.lower):
        if name[0] == "_":
            continue
        found = getattr(mmpr_pipeline, name)
        shown = f"class {name}" if inspect.isclass(found) else f"{name}{_signature(found)}"
        # Indented examples become code.
        doc = re.sub(
            r"(?m)(?:^ {4}.*\n?)+", lambda m: f"```python\n{inspect.cleandoc(m[0])}\n```\n", inspect.getdoc(found) or ""
        )
        parts.append(f"## {name}\n\n```python\n{shown}\n```\n\n{doc.strip()}\n")
    return "\n".join(parts)


def _signature(function: Callable[..., object]) -> str:
    """The signature with its annotations as they are written, one argument a line where it is long."""
    found = inspect.signature(function)
    shown: list[str] = []
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        stars = (
            "**"
            if parameter.kind is parameter.VAR_KEYWORD
            else "*"
            if parameter.kind is parameter.VAR_POSITIONAL
            else ""
        )
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        shown.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    line = f"({', '.join(shown)}) -> {found.return_annotation}"
    if len(line) <= 90:
        return line
    return "(\n" + "".join(f"    {each},\n" for each in shown) + f") -> {found.return_annotation}"


if __name__ == "__main__":
    PAGE.write_text(api(), "utf-8")
