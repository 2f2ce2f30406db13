"""How far a source has been read: the one truth about what is new, whatever became of the events about it."""

import json

from upath import UPath

from hazy_pipeline import settings
from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.connectors import Secrets, environment_secrets, open_connector
from hazy_pipeline.run_store import read_json, write_whole


def watermark(config: GeneratorConfig, secrets: Secrets = environment_secrets) -> str:
    """The newest position in the source; cheap."""
    return open_connector(config.source, table_name=config.name, secrets=secrets).watermark()


def seen_watermark(config: GeneratorConfig) -> str | None:
    """The newest watermark that was read or announced; None before the first run, or where what was noted is damaged."""
    noted = read_json(_watermark_file(config), "watermark")
    return noted["watermark"] if noted else None


def note_watermark(config: GeneratorConfig, watermark: str) -> None:
    file = _watermark_file(config)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps({"watermark": watermark}))


def _watermark_file(config: GeneratorConfig) -> UPath:
    return settings.runs_root() / config.name / "watermark.json"
