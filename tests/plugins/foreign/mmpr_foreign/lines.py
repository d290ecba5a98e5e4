"""Both the row format `questions`, with a question and its answer on each line, and the export format `lines`."""

from collections import Counter

extensions = (".questions",)


def scan(file, scan):
    for row in _rows(file):
        if not scan.full:
            scan.saw(row)


def read(file, marks, start, stop, columns):
    return iter(_rows(file)[start:stop])


def _rows(file):
    with file.open() as lines:
        return [dict(zip(("question", "answer"), line.decode().rstrip("\n").split("|"), strict=True)) for line in lines]


def write(built, folder, told):
    (folder / "shards.txt").write_text(f"{built.shards}\n")
    told(built.shards)
    return Counter(pairs=0)


def usage(dest):
    return f"Read {dest}/shards.txt."
