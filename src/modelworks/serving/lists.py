"""Rules of served lists: what contradicts itself, and which changes make a reload necessary."""

from dataclasses import replace

from modelworks.core.errors import InvalidError
from modelworks.core.graphs import GRAPH
from modelworks.core.instances import checked
from modelworks.core.served import ServedList, ServedModel
from modelworks.serving.entries import Key

_OF_MODELS = ("cache", "sequences", "instances")
"""Of a line what a graph has not: it asks models that have."""


def check(served: ServedList) -> None:
    """Refuse a list that contradicts itself.

    Raises:
        InvalidError: a version twice, an alias twice, not exactly one default a model, or what is
            impossible in a line.
    """
    keys: set[Key] = set()
    aliases: set[str] = set()
    defaults: dict[str, int] = {}
    for place, model in enumerate(served.models):
        where = f"models[{place}]"
        key = (model.name, model.version)
        if key in keys:
            raise InvalidError(f"{where}: {model.name} {model.version} is there twice", field=where)
        keys.add(key)
        defaults[model.name] = defaults.get(model.name, 0) + model.default
        for alias in model.aliases:
            name = f"{model.name}@{alias}"
            if name in aliases:
                raise InvalidError(f"{where}: alias {name} is there twice", field=where)
            aliases.add(name)
        model.batching.check(f"{where}.batching")
        if model.records is not None:
            model.records.check(f"{where}.records")
        checked(model.instances, f"{where}.instances")
        _check_kept(model, where)
    wrong = [name for name, count in defaults.items() if count != 1]
    if wrong:
        raise InvalidError(f"model '{wrong[0]}' has {defaults[wrong[0]]} defaults, wanted is one")


def _check_kept(model: ServedModel, where: str) -> None:
    said = [name for name in _OF_MODELS if getattr(model, name)]
    if model.format == GRAPH and said:
        name = said[0]
        raise InvalidError(
            f"{where}.{name}: {model.name} is a graph: say {name} of the models that it asks",
            field=f"{where}.{name}",
        )
    if model.cache is not None:
        model.cache.check(f"{where}.cache")
    if model.sequences is not None:
        model.sequences.check(f"{where}.sequences")
        if model.cache is not None:
            raise InvalidError(
                f"{where}.cache: {model.name} has sequences: the same question has another answer "
                "each time, so none can be kept; leave cache out",
                field=f"{where}.cache",
            )


def essence(model: ServedModel) -> ServedModel:
    """What makes a reload necessary when it changes."""
    said = replace(model, default=True, aliases=(), autoload=True, pinned=False)
    return replace(said, records=None, revision="", variant="", tenant="default")
