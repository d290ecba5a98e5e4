"""Record `mmpr` in a real terminal: the animation in README, and screenshots of its commands at work.

    python docs/record.py demo                    docs/pictures/demo.webp: build, verify, show, as README has them
    python docs/record.py stills OUT              PNG files in OUT, at 80 and 120 columns: help, build, top, train, eval
    python docs/record.py stills OUT build help   only these; `build` has the states of `mmpr top` as well

Every command runs behind a pseudo-terminal of the width that is asked for; its screen is read by a terminal emulator
and drawn with the fonts of the machine (DejaVu Sans Mono).
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyte
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
FONTS = Path("/usr/share/fonts/truetype/dejavu")
SIZE, MARGIN = 15, 20
INK, PAPER = "#e6e9f0", "#10141f"
COLOURS = {
    "black": "#3b4252", "red": "#f87171", "green": "#4ade80", "brown": "#facc15", "blue": "#60a5fa",
    "magenta": "#e879f9", "cyan": "#22d3ee", "white": "#e6e9f0", "brightblack": "#7b869c", "brightred": "#fca5a5",
    "brightgreen": "#86efac", "brightbrown": "#fde047", "brightblue": "#93c5fd", "brightmagenta": "#f0abfc",
    "brightcyan": "#67e8f9", "brightwhite": "#ffffff",
}  # fmt: skip
BUILD = "mmpr build examples/nano.yaml --out {out} --shards 8"
TRAIN = "mmpr train pairs --model nano --out {out} --export {out}-model --lr 3e-4 --batch 32 --max-steps 8"
EVAL = "mmpr eval {model} --against nano --sources nano_grid --skip 5000 --limit 40"


Line = list[tuple[str, str, str, bool]]
"""The cells of a line of the screen: sign, ink, paper, and whether it is bold."""


class Terminal:
    """A command behind a pseudo-terminal, and what its screen shows."""

    def __init__(self, command: str, folder: Path, width: int, height: int) -> None:
        self.screen = pyte.HistoryScreen(width, height, history=2_000)
        self._stream = pyte.ByteStream(self.screen)
        self._stream.feed(f"\x1b[1;32m$\x1b[0m {command}\r\n".encode())
        control, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            command.split(),
            cwd=folder,
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._control = control

    def read(self, seconds: float) -> bool:
        """Take in what the command writes for so long; False once it has ended and all of it was read."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._control], [], [], left)[0]:
                try:
                    self._stream.feed(os.read(self._control, 65536))
                except OSError:  # the other end is closed
                    self.process.wait()
                    return False
        return True

    def until(self, text: str, seconds: float = 600.0) -> None:
        """Read until the screen shows the text; raises TimeoutError where it never does."""
        end = time.monotonic() + seconds
        while text not in "\n".join(self.screen.display):
            if not self.read(0.2) or time.monotonic() > end:
                raise TimeoutError(f"{text!r} was not shown:\n" + "\n".join(self.screen.display))

    def finish(self) -> None:
        """Read to the command's end."""
        while self.read(1.0):
            pass

    def lines(self) -> list[Line]:
        """What was scrolled away and what the screen shows, without empty lines at the end."""
        rows = [*self.screen.history.top, *(self.screen.buffer[y] for y in range(self.screen.lines))]
        drawn = []
        for row in rows:
            cells = []
            for x in range(self.screen.columns):
                cell = row[x]
                ink, paper = _colour(cell.fg, INK), _colour(cell.bg, PAPER)
                cells.append((cell.data, *((paper, ink) if cell.reverse else (ink, paper)), cell.bold))
            drawn.append(cells)
        while drawn and all(sign in ("", " ") and paper == PAPER for sign, _, paper, _ in drawn[-1]):
            drawn.pop()
        return drawn


def _colour(name: str, usual: str) -> str:
    if name == "default":
        return usual
    return COLOURS.get(name, f"#{name}" if len(name) == 6 else usual)


def draw(lines: list[Line], width: int, height: int | None = None) -> Image.Image:
    """The lines as a picture of `width` columns and `height` lines (all of them if not given; else the last ones)."""
    plain, bold = (ImageFont.truetype(str(FONTS / f"DejaVuSansMono{name}.ttf"), SIZE) for name in ("", "-Bold"))
    wide, high = round(plain.getlength("M")), SIZE + 5
    shown = lines if height is None else lines[-height:]
    size = (2 * MARGIN + width * wide, 2 * MARGIN + (height or len(shown)) * high)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    for y, line in enumerate(shown):
        for x, (sign, ink, paper, strong) in enumerate(line):
            corner = (MARGIN + x * wide, MARGIN + y * high)
            if paper != PAPER:
                pen.rectangle((*corner, corner[0] + wide - 1, corner[1] + high - 1), fill=paper)
            if sign.strip():
                pen.text((corner[0], corner[1] + 1), sign, fill=ink, font=bold if strong else plain)
    return picture


def stills(out: Path, wanted: list[str]) -> None:
    """Pictures of every state of every command, at both widths."""
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        if {"train", "eval"} & {*wanted}:
            Terminal(BUILD.format(out="pairs"), folder, 100, 50).finish()
        for width in (80, 120):

            def keep(terminal: Terminal, state: str, width: int = width) -> None:
                draw(terminal.lines(), width).save(out / f"{state}-{width}.png")

            for each in wanted:
                {"help": _help, "build": _build, "train": _train, "eval": _eval}[each](folder, width, keep)


Keep = Callable[[Terminal, str], None]


def _help(folder: Path, width: int, keep: Keep) -> None:
    for name in ("", "build", "train", "eval", "top"):
        terminal = Terminal(f"mmpr {name} --help".replace("  ", " "), folder, width, 40)
        terminal.finish()
        keep(terminal, f"help-{name or 'mmpr'}")


def _build(folder: Path, width: int, keep: Keep) -> None:
    """A build that runs, was stopped by Ctrl-C, killed by -9, and is finished; and what `top` says of each."""

    def top(out: str, state: str) -> None:
        terminal = Terminal(f"mmpr top {out}", folder, width, 40)
        if state in ("starting", "running"):
            terminal.read(5)
            keep(terminal, f"top-{state}")
            with suppress(ProcessLookupError):  # it ends by itself with the build
                os.kill(terminal.process.pid, signal.SIGINT)
        terminal.finish()
        if state not in ("starting", "running"):
            keep(terminal, f"top-{state}")

    for number, state in ((signal.SIGINT, "stopped"), (signal.SIGKILL, "killed")):
        out = f"{state}-{width}"
        build = Terminal(BUILD.format(out=out), folder, width, 40)
        build.until("starting")
        if state == "stopped":
            top(out, "starting")
        build.until("sampling, questions")
        build.read(4)
        if state == "stopped":
            keep(build, "build-running")
            top(out, "running")
        build.read(0.5)
        with suppress(ProcessLookupError):
            os.kill(build.process.pid, number)
        build.finish()
        keep(build, f"build-{state}")
        top(out, state)
    build = Terminal(BUILD.format(out=f"killed-{width}"), folder, width, 40)
    build.finish()
    keep(build, "build-finished")
    top(f"killed-{width}", "finished")


def _train(folder: Path, width: int, keep: Keep) -> None:
    train = Terminal(TRAIN.format(out=f"run-{width}"), folder, width, 40)
    train.until("training, steps")
    train.read(12)
    keep(train, "train-running")
    train.finish()
    keep(train, "train-finished")


def _eval(folder: Path, width: int, keep: Keep) -> None:
    model = f"run-{width}-model"
    measure = Terminal(EVAL.format(model=model if (folder / model).exists() else "nano"), folder, width, 40)
    measure.read(45)
    keep(measure, "eval-running")
    measure.finish()
    keep(measure, "eval-finished")


def demo(path: Path) -> None:
    """README's moving picture: build, verify, show."""
    width, height = 100, 26
    frames: list[tuple[Image.Image, int]] = []
    before: list[Line] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples", folder / "examples")
        for command in ("mmpr build examples/nano.yaml --out pairs", "mmpr verify pairs", "mmpr show pairs -n 1"):
            terminal, runs = Terminal(command, folder, width, height), True
            while runs:
                runs = terminal.read(1.0)
                picture = draw([*before, *terminal.lines()], width, height)
                if not frames or picture.tobytes() != frames[-1][0].tobytes():
                    frames.append((picture, 120))
            frames[-1] = (frames[-1][0], 2_500)
            before += terminal.lines()
    pictures, stays = zip(*frames, strict=True)
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=list(stays), loop=0, quality=70, method=6
    )


def main(words: list[str]) -> None:
    """Do what the command line asks for."""
    if words == ["demo"]:
        demo(ROOT / "docs" / "pictures" / "demo.webp")
    elif words[:1] == ["stills"] and len(words) > 1:
        stills(Path(words[1]), words[2:] or ["help", "build", "train", "eval"])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
