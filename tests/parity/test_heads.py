"""Where anomalib is installed (the extra `parity`): our heads give its scores, and the known deviations are there."""

import pytest

pytest.importorskip("anomalib", reason="anomalib is not installed: the extra `parity` brings it")

from . import heads

ROWS = heads.rows()
DEVIATIONS = [row for row in ROWS if row["why"]]
SAME = [row for row in ROWS if row["agrees"]]


def _name(row):
    return f"{row['method']}: {row['what']}"


@pytest.mark.parametrize("row", SAME, ids=_name)
def test_what_means_the_same_agrees_to_rounding(row):
    assert row["relative"] <= heads.ROUNDING


@pytest.mark.parametrize("row", DEVIATIONS, ids=_name)
def test_a_known_deviation_makes_a_difference(row):
    assert row["relative"] > heads.ROUNDING
