"""Settings of the model server: command line over environment over defaults."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelworks.apps.options import Kind, add_options, check_ranges, kinds_of, read
from modelworks.apps.server_batching import add_batching_options, defaults, said_of_batching
from modelworks.apps.server_edge import EdgeSettings, edge_options
from modelworks.apps.server_models import policy_of
from modelworks.core.errors import InvalidError
from modelworks.core.ragged import parse_ragged
from modelworks.core.reference import model_name
from modelworks.core.served import ENGINES, Batching, ServedList, ServedModel

PREFIX = "MODELWORKS_SERVER_"
AUTO = 0  # workers and threads: as a calibration finds best
_COUNTS = ("workers", "threads")
_RANGES = {
    "port": (0, 65535),
    "workers": (0, 256),
    "threads": (0, 256),
    "drain_seconds": (0, 3600),
}


def count_or_auto(text: str) -> int:
    """`auto` or a number from 1, as options and variables have it.

    Raises:
        ValueError: neither.
    """
    if text == "auto":
        return AUTO
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"'{text}' is no number from 1, nor auto")
    return int(text)


@dataclass(frozen=True, slots=True)
class ServerSettings(EdgeSettings):
    """What one server is told; see `EdgeSettings` for its edge.

    Attributes:
        served: the served list to follow; "" = `file`.
        file: one model file to serve without a list; "" = `served`.
        name: of the model of `file`; "" = from the file's name.
        host: address to listen on.
        port: 0 = a free one.
        share_port: others serve the port as well: it is joined without a look whether it is free,
            and not before every model of the list is loaded; one that cannot be ends the server.
        workers: processes on the port; AUTO = as a calibration finds best.
        threads: engine threads a model and worker; AUTO = 1, or as the calibration finds best.
        drain_seconds: how long a drain may take.
        announce: file that is written when the server is ready; "" = none.
        with_parent: end when the parent process ends.
        parent: id of that process, for it may end before we have looked who it is; 0 = look.
        memory_limit: for the whole server, `4GB`; "" = what the system has, less a reserve;
            `none` = loads are not held against anything.
        pin: names of models, with commas between, that are never evicted.
        lazy: models are loaded when they are first asked for.
        isolation: `thread` or `process` for every model; "" = as the list says.
        ragged: `MASK[:AXIS][,INPUT=VALUE]` of the model of `file`, see `core.ragged`; "" = none.
        max_batch_size: this and those that follow: see `Batching`; of the model of `file`, or of
            every model of the list, whatever it says. None = as the list says, or the default.
        max_queue_size: as there.
        max_delay_ms: as there.
        priority_levels: as there.
        timeout_ms: as there.
        latency_goal_ms: as there.
        records: folder that the logger writes records to; "" = nothing is recorded.
        record: share of the requests of models whose line of the list says nothing of records;
            None = as `record_policy` says.
        record_policy: file (JSON) of their policy, see `core.records`, or the JSON itself; "" = the
            default one.
        record_urgent: the logger is as urgent as the server: nothing is dropped where all cores are
            busy, and requests may wait for it.
        revision: of the deployment, `fraud/3`, of models whose line of the list says none; it
            stands in their records.
        instances: devices and copies of models whose line says nothing of it, `cuda:0*2,cpu`.
        cache: how answers are kept of models whose line says nothing of it: `on`, JSON, or a file
            of it, see `core.caching`; "" = they are not.
        sequences: the same for sequences, see `core.stateful`.
        worker: `slot:link:block:patient`, given by the supervisor to its workers; "" = none.
    """

    served: str = ""
    file: str = ""
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    share_port: bool = False
    workers: int = 1
    threads: int = AUTO
    drain_seconds: float = 30.0
    announce: str = ""
    with_parent: bool = False
    parent: int = 0
    memory_limit: str = ""
    pin: str = ""
    lazy: bool = False
    isolation: str = ""
    ragged: str = ""
    max_batch_size: int | None = None
    max_queue_size: int | None = None
    max_delay_ms: float | None = None
    priority_levels: int | None = None
    timeout_ms: float | None = None
    latency_goal_ms: float | None = None
    records: str = ""
    record: float | None = None
    record_policy: str = ""
    record_urgent: bool = False
    revision: str = ""
    cache: str = ""
    instances: str = ""
    sequences: str = ""
    worker: str = ""

    @classmethod
    def read(cls, arguments: Sequence[str], environ: Mapping[str, str]) -> "ServerSettings":
        """Read and check.

        Raises:
            InvalidError: an unknown or impossible setting; `field` names it.
        """
        base = cls()
        return read(base, _parser(), (arguments, environ), PREFIX, _kinds(base)).checked()

    def checked(self) -> "ServerSettings":
        """The same, when it is possible."""
        if bool(self.served) == bool(self.file):
            raise InvalidError("give --served LIST or --file MODEL, one of them", field="served")
        check_ranges(self, _RANGES)
        if self.share_port and not self.port:
            raise InvalidError(
                "share_port goes with a port: others cannot find one that is chosen at start",
                field="share_port",
            )
        if parse_ragged(self.ragged) and self.served:
            raise InvalidError(
                "ragged goes with file: a served list says it of each of its models", field="ragged"
            )
        self.check_edge()
        policy_of(self)
        return self

    @property
    def minded(self) -> int:
        """Id of the process that we end with; 0 = none."""
        return (self.parent or os.getppid()) if self.with_parent else 0

    def single(self) -> ServedList | None:
        """The list of one that `file` stands for; None where a list's file is followed.

        Raises:
            InvalidError: the name is none.
        """
        if not self.file:
            return None
        path = Path(self.file)
        name = self.name or _name_of(path)
        batching = Batching(**said_of_batching(self))
        form = "stages" if (path / "stages.json").is_file() else "onnx"
        model = ServedModel(
            model_name(name),
            "1.0.0",
            str(path.absolute()),
            digest="",
            format=form,
            engine=ENGINES[form],
            batching=batching,
            ragged=parse_ragged(self.ragged),
        )
        return ServedList(generation=1, models=(model,))


def _name_of(path: Path) -> str:
    text = "".join(c if c.isascii() and c.isalnum() else "-" for c in path.stem.lower())
    return text.strip("-")[:128] or "model"


def _kinds(base: ServerSettings) -> dict[str, Kind]:
    """What makes values of variables' texts; fields without a value by default have a kind too."""
    return {
        **kinds_of(base),
        **{name: type(default) for name, default in defaults()},
        **dict.fromkeys(_COUNTS, count_or_auto),
        "record": float,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m modelworks.apps.server",
        description="Serve models over HTTP (Open Inference Protocol v2).",
        epilog=f"Every option can be given as {PREFIX}OPTION in the environment.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--served", metavar="LIST", help="served list (JSON) to follow")
    add("--file", metavar="MODEL", help="one ONNX file to serve, without a list")
    add("--name", help="name of the model of --file")
    add("--host", help="address to listen on (127.0.0.1)")
    add("--port", type=int, help="port, 0 = a free one (8000)")
    many = "N|auto"
    share = "Join others on the port, when every model is loaded"
    add("--share-port", action="store_true", default=None, help=share)
    add("--workers", type=count_or_auto, metavar=many, help="processes on the port (1)")
    add("--threads", type=count_or_auto, metavar=many, help="engine threads a model and worker (1)")
    add("--drain-seconds", type=float, help="how long a drain may take (30)")
    add("--announce", metavar="FILE", help="write url, port and pid there when ready")
    add("--with-parent", action="store_true", default=None, help="end when the parent ends")
    add("--parent", type=int, metavar="PID", help="which process that is, if it may end early")
    add("--ragged", metavar="MASK", help="share calls among lengths: MASK[:AXIS][,INPUT=VALUE]")
    add_batching_options(parser)
    add_options(parser, edge_options())
    add("--memory-limit", metavar="SIZE", help="of the whole server, 4GB; none = no limit")
    add("--pin", metavar="NAMES", help="models that are never evicted, with commas between")
    add("--lazy", action="store_true", default=None, help="load models when they are asked for")
    add("--isolation", metavar="KIND", help="thread or process, for every model")
    add("--instances", metavar="DEVICE*N", help="copies of each model, by device: cuda:0*2,cpu")
    add("--records", metavar="FOLDER", help="record requests there, as policies say")
    add("--record", type=float, metavar="SHARE", help="of the requests, 0 to 1")
    add("--record-policy", metavar="FILE", help="what is recorded and how, JSON or a file of it")
    told = "the logger is as urgent as the server"
    add("--record-urgent", action="store_true", default=None, help=told)
    add("--revision", metavar="NAME", help="of the deployment, as records say it: fraud/3")
    add("--cache", metavar="on|FILE", help="keep answers and give them again")
    add("--sequences", metavar="FILE", help="states that models remember, JSON or a file of it")
    add("--worker", help=argparse.SUPPRESS)
    return parser
