"""Reading a configuration: YAML against a struct, every mistake at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec
import yaml

T = TypeVar("T", bound=msgspec.Struct)


class ConfigError(ValueError):
    """What is wrong with a configuration, one line per mistake, all of them at once."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_config(path: Path, schema: type[T]) -> T:
    """Read and check a YAML file against a struct. Raises ConfigError with every mistake in it."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from None
    problems: list[str] = []
    config = _convert(data, schema, "", problems)
    if config is None:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return config


def _convert(data: Any, schema: type[T], where: str, problems: list[str]) -> T | None:
    """Field by field, since msgspec itself stops at the first mistake."""
    if not isinstance(data, dict):
        problems.append(f"{where.rstrip('.') or 'file'}: expected a mapping of names to values")
        return None
    hints = get_type_hints(schema, include_extras=True)
    fields = {field.name: field for field in msgspec.structs.fields(schema)}
    before = len(problems)
    problems += [
        f"{where}{name}: unknown field (one of {', '.join(fields)})"
        for name in data
        if name not in fields
    ]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in data:
            if field.required:
                problems.append(f"{where}{name}: is missing")
            continue
        kind = hints[name]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            values[name] = _convert(data[name], kind, f"{where}{name}.", problems)
            continue
        try:
            values[name] = msgspec.convert(data[name], kind)
        except msgspec.ValidationError as error:
            inner = re.search(r" - at `\$\.?(.*)`$", str(error))
            message = str(error).split(" - at `")[0]
            suffix = f".{inner[1]}" if inner else ""
            got = re.sub(r"//[^/@]*@", "//***@", repr(data[name]))  # passwords stay out of logs
            problems.append(f"{where}{name}{suffix}: {message} (got {got})")
    return schema(**values) if len(problems) == before else None
