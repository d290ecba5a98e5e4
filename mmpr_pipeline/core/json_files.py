"""JSON files that come out the same, byte for byte, for the same content."""

from __future__ import annotations

import json
from typing import Any


def json_bytes(data: Any) -> bytes:
    """JSON that a person can read, the same bytes for the same data."""
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
