"""Options made of settings: a command shows what the fields of its settings declare, and says nothing twice."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from mmpr_pipeline.core.settings import Declared, Settings, declared_settings
from mmpr_pipeline.core.settings.declared import PANELS, plain_types

F = TypeVar("F", bound=Callable[..., Any])
_DOTS, _OFF = "__", "off__"


def settings_options(
    model: type[Settings], *, leave_out: Iterable[str] = (), prefix: str = "", defaults: dict[str, str] | None = None
) -> Callable[[F], F]:
    """Give a command an option for each setting of `model` that declares a flag.

    The command takes them in its parameter `flags`, as a dict by dotted names with `prefix` before them; None where an
    option is not given. `leave_out`: settings, or groups of them, that the command has in another form or not at all.
    `defaults`: defaults in words that differ in this command.
    """
    left_out, other = set(leave_out), defaults or {}
    shown = [
        each
        for each in declared_settings(model)
        if each.flag and not any(f"{each.path}.".startswith(f"{p}.") for p in left_out)
    ]
    shown.sort(key=lambda each: PANELS.index(each.panel))

    def decorate(command: F) -> F:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "flags"]
        added = [p for each in shown for p in _parameters(each, other.get(each.path))]

        @wraps(command)
        def wrapper(**values: Any) -> Any:
            flags: dict[str, object] = {}
            for each in shown:
                value, off = values.pop(_name(each)), values.pop(_OFF + _name(each), False)
                types = plain_types(each.annotation)
                if types == [bool]:
                    value = True if value else False if off else None
                elif isinstance(value, str) and any(getattr(one, "__origin__", one) in (tuple, list) for one in types):
                    value = names(value)
                flags[f"{prefix}{each.path}"] = value
            return command(**values, flags=flags)

        arguments = [p for p in own if _is_argument(p)]
        rest = [p for p in own if not _is_argument(p)]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*arguments, *added, *rest)]
        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper  # type: ignore[return-value]

    return decorate


def names(text: str | None) -> list[str] | None:
    """The parts between commas; None where nothing is given."""
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def help_text(each: Declared, default: str | None = None) -> str:
    """Description, unit and default of a setting, as the help of its option."""
    text = re.sub(r"`([^`]*)`", r"\1", each.description)
    default = default or each.shown_default
    if each.unit and (default is None or default[-1].isdigit()):
        default = f"{default or ''} {each.unit}".strip()
        said = f"{text} [default: {default}]" if each.shown_default else f"{text} [{default}]"
    else:
        said = f"{text} [default: {default}]" if default else text
    return escape(said)


def _name(each: Declared) -> str:
    return each.path.replace(".", _DOTS)


def _parameters(each: Declared, default: str | None) -> list[inspect.Parameter]:
    """The parameters of one setting: two where a switch has a flag for on and one for off, of which the help shows the
    one that changes something."""
    assert each.flag is not None
    types = plain_types(each.annotation)
    text = help_text(each, default)
    if types != [bool]:
        kind: Any = types[0] if len(types) == 1 and types[0] in (int, float) else str
        return [
            _parameter(_name(each), kind | None, None, typer.Option(each.flag, help=text, rich_help_panel=each.panel))
        ]
    on, _, off = each.flag.partition("/")
    shown = off if off and each.default else on
    said = f"Turn this off: {text}" if shown == off else text
    made = []
    for flag, name in ((on, _name(each)), (off, _OFF + _name(each))):
        if flag:
            option = typer.Option(flag, help=said, rich_help_panel=each.panel, hidden=flag != shown, show_default=False)
            made.append(_parameter(name, bool, False, option))
    return made


def _parameter(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _is_argument(parameter: inspect.Parameter) -> bool:
    notes = getattr(parameter.annotation, "__metadata__", ())
    return any(type(note).__name__ == "ArgumentInfo" for note in notes)
