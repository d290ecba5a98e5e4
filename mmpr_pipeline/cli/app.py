"""The command's root, and how its errors are shown. Commands import what they need when they run."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import Annotated

import typer

app = typer.Typer(
    name="mmpr",
    help="Build multimodal preference data from your own questions, and train on it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
sources_app = typer.Typer(no_args_is_help=True, help="The catalog of question sources, and your own declarations.")
app.add_typer(sources_app, name="sources")


def main() -> None:
    """Run `mmpr`; an error made on purpose is printed without a traceback and ends with status 1."""
    from mmpr_pipeline.core.errors import MmprError, explained
    from mmpr_pipeline.core.masking import masked

    try:
        status = app(standalone_mode=False)  # gives the status of typer.Exit, and of Ctrl-C, as a value
    except MmprError as error:
        print(f"mmpr: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("mmpr: stopped.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:  # click's usage errors carry their own message and exit code
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(error.exit_code)
        if isinstance(error, ModuleNotFoundError) and (missing := explained(error)):
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
        str | None, typer.Option(help="Log from this level on: debug, info, warning or error. [default: info]")
    ] = None,
) -> None:
    if log_level:
        from mmpr_pipeline.core.logs import choose_level

        try:
            choose_level(log_level)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--log-level") from None
