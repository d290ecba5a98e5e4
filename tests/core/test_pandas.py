"""Processes of our own do without pandas, and what needs it still gets it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import pyarrow as pa
from mmpr_pipeline.core.schemas import leave_pandas_out

leave_pandas_out()
table = pa.table({"n": pa.array([1.0, None]), "text": ["a", "b"]})
assert "pandas" not in sys.modules
assert table.to_pandas()["n"].isna().tolist() == [False, True]
leave_pandas_out()  # pandas is there now, and nothing is hidden
import pandas as pd
assert pa.Table.from_pandas(pd.DataFrame({"n": [1.0, float("nan")]})).column("n").null_count == 1
assert pa.array(pd.Series([1.0, float("nan")])).null_count == 1
"""


def test_the_first_array_does_without_pandas_and_later_uses_have_it() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
