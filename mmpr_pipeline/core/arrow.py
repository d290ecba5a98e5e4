"""pyarrow in processes of our own: commands, and workers that Ray starts for a build."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class _Absent:
    """A finder for which pandas is not installed."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
        return None


def leave_pandas_out() -> None:
    """Make pyarrow's first array without pandas, which pyarrow imports with it otherwise, for 0.4 s in each process.

    `to_pandas` and `from_pandas` import it still. Only `pyarrow.array` of a pandas series differs until then: it keeps
    NaN as a number instead of null. So no process of a user's own Python calls this.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _Absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_Absent)
