"""Holds the records that a manifest asks for against the model that it names."""

from typing import Final

from modelworks.core.served import ServedModel
from modelworks.protocol.manifest.load import Loaded, nearest
from modelworks.protocol.manifest.monitoring import Records, strangers
from modelworks.protocol.manifest.problems import ManifestError, Path, Problem, spelt
from modelworks.protocol.records.fields import known_fields, problem_of

_AT: Final[Path] = ("spec", "monitoring", "records")


def check(loaded: Loaded, records: Records | None, model: ServedModel) -> None:
    """Refuse records that the model's server would not make.

    Args:
        loaded: the document, for places.
        records: of it; None = none are asked for.
        model: that it names; of one that tells nothing of its fields nothing is refused.

    Raises:
        ManifestError: a field that the model does not have, every one with its place.
    """
    if records is None or model.signature is None or not known_fields(model.signature):
        return
    known, name = known_fields(model.signature), f"{model.name}:{model.version}"
    found: list[tuple[Path, str]] = [
        ((*_AT, *place), f"{name} has no field '{field}'{nearest(field, known)}")
        for place, field in strangers(records, model.signature)
    ]
    if not found and (why := problem_of(records.policy, model.signature)):
        found = [(_AT, why)]  # as the server's log would say it
    if found:
        mark = loaded.source.mark
        raise ManifestError([Problem(mark(path), spelt(path), words) for path, words in found])
