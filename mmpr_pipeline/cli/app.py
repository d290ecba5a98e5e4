"""The command's root: a command's module is imported when the command is used, so that `mmpr --help` is quick."""

from __future__ import annotations

import signal
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

DOCS = "docs/README.md"


@dataclass(frozen=True)
class Place:
    """Where a command is, and how the list of commands shows it."""

    module: str
    panel: str
    line: str


START, BUILD, LOOK, SHARE, TRAIN = "Start", "Build", "Look at the result", "Share", "Train and measure"
COMMANDS = {
    "init": Place("start.init", START, "Write a small project: settings of a build, and what to type next."),
    "doctor": Place("start.doctor", START, "Check this machine: what is installed, what is missing, how to get it."),
    "sources": Place("sources", START, "The catalog of question sources, and your own declarations."),
    "screening": Place("sources", START, "Fingerprints of evaluation sets, in place of the sets themselves."),
    "build": Place("build", BUILD, "Questions -> rollouts -> verdicts -> pairs -> shards."),
    "top": Place("build", BUILD, "Status of a build: throughput, rejects, time left."),
    "engine-check": Place("build", BUILD, "Check that an engine and its model work here."),
    "show": Place("dataset", LOOK, "Show a few pairs, chosen and rejected side by side."),
    "view": Place("dataset", LOOK, "Browse an output in a web page, and review verdicts."),
    "stats": Place("dataset", LOOK, "Pairs by source and strategy, solve rates, lengths."),
    "report": Place("dataset", LOOK, "Write one HTML page about an output."),
    "verify": Place("dataset", LOOK, "Check hashes, schemas and counts of an output."),
    "diff": Place("dataset", LOOK, "Compare two outputs, question by question."),
    "marks": Place("dataset", LOOK, "Summarise what people marked in the viewer."),
    "check": Place("check", LOOK, "Check answers in a file against their golds."),
    "publish": Place("dataset", SHARE, "Send an output to the Hub, with a card."),
    "merge": Place("dataset", SHARE, "Join several outputs and pair them again, without an engine."),
    "export": Place("dataset", SHARE, "Write an output in another trainer's format."),
    "train": Place("training", TRAIN, "Train a model on an output with MPO."),
    "plot": Place("training", TRAIN, "Draw the curves of a training run."),
    "eval": Place("evaluation", TRAIN, "Measure a model on benchmarks, alone or against another."),
    "leaderboard": Place("evaluation", TRAIN, "Show the results of several models side by side."),
    "iterate": Place("study", TRAIN, "Build, train, evaluate, and again with the better model."),
    "convert": Place("training", TRAIN, "Convert an original InternVL checkpoint to the native format."),
    "study": Place("study", TRAIN, "Run the paper's experiment in miniature."),
}
OLD_NAMES = {
    ("export", "--dest"): "--out",
    ("report", "--path"): "--out",
    ("diff", "--page"): "--out",
    ("train", "--run-dir"): "--out",
}
"""Options that have another name since 0.3; the old one works until 0.4."""


class Group(TyperGroup):
    """Shows all commands without importing them, and imports the one that is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order in which they are shown."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command as the list of commands shows it: its name, line and panel."""
        place = COMMANDS.get(cmd_name)
        return place and TyperCommand(cmd_name, help=place.line, rich_help_panel=place.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, with what is left of the words typed."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from mmpr_pipeline.core.errors import nearest

            ctx.fail(f"There is no command {args[0]!r}{nearest(args[0], list(COMMANDS), listing=False) or '.'}")
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load(str(name)) if stub else None, renamed(str(name), rest)


def example(*lines: str, docs: str) -> str:
    """The end of a command's help: what to type, and where to read more."""
    shown = "\n\n".join(escape(line) for line in lines)
    return f"[bold]Example[/bold]\n\n{shown}\n\n[bold]Read more[/bold]  docs/{docs}"


def load(name: str) -> Any:
    """A command, or group of commands, from its module."""
    import_module(f"mmpr_pipeline.cli.{COMMANDS[name].module}")
    if name in GROUPS:
        group = typer.main.get_group_from_info(
            app.registered_groups[GROUPS.index(name)],
            pretty_exceptions_short=False,
            suggest_commands=True,
            rich_markup_mode="rich",
        )
        return group
    info = next(i for i in app.registered_commands if (i.name or getattr(i.callback, "__name__", "")) == name)
    return typer.main.get_command_from_info(info, pretty_exceptions_short=False, rich_markup_mode="rich")


def renamed(command: str, words: list[str]) -> list[str]:
    """The words with old names of options replaced, and a note on stderr for each."""
    result = []
    for word in words:
        option, equals, value = word.partition("=")
        new = OLD_NAMES.get((command, option))
        if new:
            print(f"mmpr: {option} is called {new} now; the old name goes with version 0.4.", file=sys.stderr)
        result.append(f"{new}{equals}{value}" if new else word)
    return result


app = typer.Typer(
    name="mmpr",
    cls=Group,
    help="Build multimodal preference data from your own questions, and train on it.",
    epilog=f"Every command has --help with an example. Documentation: {DOCS}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
GROUPS = ("sources", "screening")
"""Commands that have commands of their own."""

sources_app, screening_app = (typer.Typer(no_args_is_help=True, help=COMMANDS[name].line) for name in GROUPS)
app.add_typer(sources_app, name="sources")
app.add_typer(screening_app, name="screening")


def main() -> None:
    """Run `mmpr`; an error made on purpose is printed without a traceback and ends with status 1."""
    from mmpr_pipeline.core.errors import MmprError, explain_missing_package
    from mmpr_pipeline.core.masking import masked

    try:
        status = app(standalone_mode=False)  # gives the status of typer.Exit, and of Ctrl-C, as a value
    except MmprError as error:
        print(f"mmpr: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mmpr: stopped.", file=sys.stderr)
        sys.exit(130)
    except typer.Abort:  # Ctrl-C at a question, or nobody there to answer it
        print("\nmmpr: stopped: the question was not answered. With --yes none is asked.", file=sys.stderr)
        sys.exit(1)
    except ModuleNotFoundError as error:
        from mmpr_pipeline.cli.start.missing import advice

        if (said := advice(error)) is None:
            raise
        print(f"mmpr: {said}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:  # click's usage errors carry their own message and exit code
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(error.exit_code)
        if isinstance(error, ModuleNotFoundError) and (missing := explain_missing_package(error)):
            print(f"mmpr: {missing}", file=sys.stderr)
            sys.exit(1)
        print(masked("".join(traceback.format_exception(error))), file=sys.stderr, end="")
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def stop_by_signals() -> None:
    """Let SIGINT and SIGTERM stop the command as Ctrl-C does: schedulers send SIGTERM, and a background job is born
    with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _version(wanted: bool) -> None:
    if wanted:
        from mmpr_pipeline.core.version import __version__

        print(f"mmpr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option(help=r"Log from this level on: debug, info, warning or error. \[default: info]")
    ] = None,
) -> None:
    if log_level:
        from mmpr_pipeline.core.logs import choose_level

        try:
            choose_level(log_level)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--log-level") from None
