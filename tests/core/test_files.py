from __future__ import annotations

import json

import pytest

from mmpr_pipeline.core.files import checked_fields, checked_line, is_checked, sound_lines


def test_a_checked_line_is_json_that_ends_with_its_checksum() -> None:
    line = checked_line({"step": 0, "id": "图 \ud800", "nll": float("nan")})
    fields = json.loads(line)
    assert list(fields) == ["step", "id", "nll", "check"]
    assert checked_fields(line[:-1], lambda name: None) == {"step": 0, "id": "图 \ud800", "nll": None}
    assert is_checked(line[:-1])
    assert not is_checked(line)


def test_any_flipped_bit_costs_its_line_only() -> None:
    lines = [{"step": step, "loss": 0.5} for step in range(3)]
    whole = b"".join(map(checked_line, lines))
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        found = sound_lines(bytes(damaged))
        assert 1 <= len(found) < 3
        assert all(line in lines for line in found)


def test_lines_of_versions_without_checksums_are_taken() -> None:
    assert sound_lines(b'{"step": 0}\n[1]\n{"step": 1}\n{"step"') == [{"step": 0}, {"step": 1}]
    with pytest.raises(ValueError, match="checksum"):
        checked_fields(b'{"step": 0, "check": "0000"}')
