"""A record as a CloudEvent 1.0: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import orjson

from modelworks.core.records import Record
from modelworks.ext import settings

TYPE: Final = "modelworks.prediction.v1"
_MOST_S: Final = 600
_LEFT_TO_THE_HEAD: Final = ("id",)


def identity(record: Record) -> str:
    """The same for the same record, whenever it is sent: receivers know it by it."""
    return f"{record.id}/{record.at_ns}"


def attributes(record: Record) -> dict[str, str]:
    """The context attributes, all of them text."""
    seconds, rest = divmod(record.at_ns, 1_000_000_000)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    parts = (record.tenant, "models", record.model, "versions", record.version)
    found = {
        "specversion": "1.0",
        "id": identity(record),
        "source": "/modelworks/" + "/".join(quote(part, safe="") for part in parts),
        "type": TYPE,
        "time": f"{stamp}.{rest:09d}Z",
        "datacontenttype": "application/json",
    }
    if record.key:
        found["partitionkey"] = record.key
    return found


def data(record: Record) -> bytes:
    """The record itself, JSON."""
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)


def structured(record: Record) -> bytes:
    """The whole event, JSON."""
    head = orjson.dumps(attributes(record))
    return head[:-1] + b',"data":' + data(record) + b"}"


def checked(given: Mapping[str, str], known: Mapping[str, str], wanted: tuple[str, ...]) -> None:
    """Refuse settings that are not known, and that are not there.

    Raises:
        InvalidError: `field` names it.
    """
    settings.checked(given, known, wanted, "sink")


def seconds_of(given: Mapping[str, str], name: str, default: float) -> float:
    """A setting that is a time in seconds, 0.1 to 600.

    Raises:
        InvalidError: it is none.
    """
    return settings.seconds_of(given, name, default, _MOST_S)
