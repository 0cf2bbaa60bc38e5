"""Objects as YAML that every reader of YAML takes for the same."""

import re
from typing import Any, Final

import yaml

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9._/-]*")
_WORDS: Final = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"}
)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever some version of YAML takes for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out: people read it."""
        return data is not ...


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def yaml_of(value: Any) -> str:
    """One document; keys in their order, ended by a new line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
