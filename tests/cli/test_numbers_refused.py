"""Numbers that make no head and no film are refused before anything is drawn."""

from pathlib import Path

import pytest

from flamehead.cli._named import parse_settings
from flamehead.cli._usage import UsageError
from flamehead.cli.render import Render


@pytest.mark.parametrize("word", ["smile=1e9", "smile=-101", "jaw_open=nan"])
def test_amounts_are_those_of_a_head(word):
    with pytest.raises(UsageError, match="--set"):
        parse_settings([word])
    assert parse_settings(["smile=-2.5"]) == {"smile": -2.5}


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_a_rate_is_above_zero_even_for_a_picture(fps, suffix, tmp_path: Path):
    with pytest.raises(UsageError, match="--fps"):
        Render(out=tmp_path / f"head{suffix}", fps=fps).run()
