"""How far a source was read is noted for later looks, and a damaged note is no note."""

from pathlib import Path

import pytest

from hazy_pipeline import settings
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.watermarks import note_watermark, seen_watermark


@pytest.mark.parametrize("left", ["", '{"watermark": "1', "[3]", '{"mark": 1}'])
def test_a_note_that_is_damaged_is_as_none_and_the_next_one_replaces_it(
    home: Path, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = GeneratorConfig.model_validate({"name": "shop", "source": {"connector": "files", "path": "shop.csv"}})
    assert seen_watermark(config) is None
    note_watermark(config, "17")
    assert seen_watermark(config) == "17"
    (settings.runs_root() / "shop" / "watermark.json").write_text(left)
    assert seen_watermark(config) is None
    assert "watermark.json is damaged and not used" in caplog.text
    note_watermark(config, "18")
    assert seen_watermark(config) == "18"
