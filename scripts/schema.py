"""Writes the JSON Schema of Generators' YAML files, from which editors complete and check them: `make schema`."""

import json
import sys
from pathlib import Path
from typing import Any

from hazy_pipeline.config import GeneratorConfig
from hazy_pipeline.search_spaces import PRESETS, SPACES, Limit, UseCase

TARGET = Path(__file__).resolve().parents[1] / "dags" / "generators" / "generator.schema.json"


def generator_schema() -> dict[str, Any]:
    """The schema of `GeneratorConfig`, with every candidate's parameters and their limits spelled out."""
    schema = GeneratorConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    candidates = {name: _candidate(name) for name in SPACES}
    schema["properties"]["candidates"] = {
        "description": schema["properties"]["candidates"]["description"],
        "anyOf": [
            {"type": "array", "items": {"enum": list(SPACES)}, "minItems": 1, "uniqueItems": True},
            {"type": "object", "properties": candidates, "additionalProperties": False, "minProperties": 1},
        ],
    }
    schema["properties"]["name"]["pattern"] = "^[a-z][a-z0-9_]{0,62}$"
    return schema


def _candidate(name: str) -> dict[str, Any]:
    parameters = {parameter: _parameter(name, parameter, limit) for parameter, limit in SPACES[name].limits.items()}
    return {
        "description": f"Bounds for the parameters of {name}; empty: the use case's",
        "anyOf": [
            {"type": "null"},
            {"type": "object", "properties": parameters, "additionalProperties": False},
        ],
    }


def _parameter(candidate: str, name: str, limit: Limit) -> dict[str, Any]:
    value: dict[str, Any]
    if limit.one_of:
        value = {"enum": list(limit.one_of)}
        possible = ", ".join(limit.one_of)
    else:
        value = {"type": "integer" if limit.kind is int else "number", "minimum": limit.low, "maximum": limit.high}
        possible = f"{limit.low} to {limit.high}"
    forms = [value, {"type": "array", "items": value, "minItems": 1}]
    if not limit.one_of:
        bounds = {"low": value, "high": value, "log": {"type": "boolean", "default": False}}
        forms.append(
            {"type": "object", "properties": bounds, "required": ["low", "high"], "additionalProperties": False}
        )
    presets = [
        f"{case}: {preset}" for case in UseCase if (preset := _shown(PRESETS[case].get(candidate, {}).get(name)))
    ]
    default = _shown(SPACES[candidate].model_fields[name].default.model_dump(exclude_defaults=True))
    about = f"A value, a list of values, or {{low, high}}. Possible: {possible}. Default: {default}"
    return {"description": "; ".join([about, *presets]), "anyOf": forms}


def _shown(bounds: dict[str, Any] | None) -> str:
    if not bounds:
        return ""
    if "choices" in bounds:
        return " or ".join(str(choice) for choice in bounds["choices"])
    return f"{bounds['low']} to {bounds['high']}" + (" (log)" if bounds.get("log") else "")


def text() -> str:
    return json.dumps(generator_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
