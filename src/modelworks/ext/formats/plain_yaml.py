"""Reads a YAML file of others as plain values: bounded, without tags, merges or clever numbers."""

from pathlib import Path
from typing import Any

import yaml

from modelworks.core.errors import InvalidError

_MOST_BYTES = 1 << 20
_MOST_ALIASES = 100
_MOST_NODES = 100_000


class _Plain(yaml.SafeLoader):
    """The safe loader without what makes little files large."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._aliases = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count what is read: an alias stands for all that it points to."""
        self._nodes += 1
        self._aliases += self.check_event(yaml.AliasEvent)
        if self._aliases > _MOST_ALIASES or self._nodes > _MOST_NODES:
            raise yaml.YAMLError("more nodes or aliases than any such file has")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: Any) -> None:
        """Merge keys copy, and copies of copies grow without end."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.YAMLError("merge keys (<<) are not read")


def read(path: Path, field: str = "file") -> Any:
    """The values in a YAML file.

    Args:
        path: the file.
        field: the offending input, for errors.

    Raises:
        InvalidError: absent, above 1 MiB, no UTF-8, no YAML, or built to grow when it is read.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InvalidError(f"{path.name}: {size} bytes, {_MOST_BYTES} are allowed", field=field)
        return yaml.load(path.read_text("utf-8"), Loader=_Plain)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise InvalidError(f"{path.name}: {error.strerror}", field=field) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        words = " ".join(str(error).split())[:160]
        raise InvalidError(f"{path.name}: no YAML that is understood ({words})", field=field) from (
            error
        )
