"""Runs a model that was cut into stages: each in a process of its own, here or on another host.

Loaded is one stage after the other, each by its own process: none ever holds the whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.agreement import agree, refuse_unknown
from modelworks.ext.engines.stages.hosting import Host
from modelworks.ext.engines.stages.local import LocalStage, Running
from modelworks.ext.engines.stages.remote import RemoteStage
from modelworks.ext.engines.stages.safety import Address, address_of, certificates_of
from modelworks.ext.engines.stages.session import StagesSession
from modelworks.ext.formats.stages import STAGES, Stages, read_stages
from modelworks.sandbox.limits import GIB
from modelworks.sandbox.relay import Pool

_MIB: Final = 1 << 20
_NUMBERS: Final = {
    "in_flight": (1.0, 64.0),
    "buffers_mib": (1.0, 1048576.0),
    "deadline_s": (0.1, 3600.0),
}
_KNOWN: Final = (*_NUMBERS, "hosts", "tls_ca", "tls_cert", "tls_key")


class StagesEngine:
    """The engine `stages`.

    Its own settings:
        in_flight: calls on their way at once; one more than there are stages where left out.
        buffers_mib: that the tensors of all of them may take together; 1024.
        deadline_s: of one stage's part of a call; 300.
        hosts: stages that run elsewhere, `1=10.0.0.2:7001,2=10.0.0.3:7001`.
        tls_ca, tls_cert, tls_key: files; both sides show certificates of that authority.
    """

    name: ClassVar[str] = "stages"
    formats: ClassVar[tuple[str, ...]] = (STAGES,)
    experimental: ClassVar[bool] = True

    def load(self, path: Path, options: EngineOptions) -> StagesSession:
        """Start the stages of the folder `path`; see `core.seams.Engine.load`."""
        extra = refuse_unknown(self.name, options, _KNOWN)
        numbers = {name: _number(name, extra[name]) for name in _NUMBERS if name in extra}
        hosts = _hosts(extra.get("hosts", ""))
        certificates = certificates_of(extra)
        stages = read_stages(path, frozenset(hosts))
        if beyond := sorted(hosts.keys() - set(range(len(stages.stages)))):
            raise InvalidError(f"hosts: there is no stage {beyond[0]}", field="hosts")
        if options.signature is not None:
            agree(options.signature, stages.signature, "stages.json")
        deadline_s = numbers.get("deadline_s", 300.0)
        running: list[Running] = []
        try:
            for number, stage in enumerate(stages.stages):
                running.append(
                    RemoteStage(hosts[number], stage, certificates, deadline_s, GIB)
                    if number in hosts
                    else LocalStage(
                        Path(path) / stage.folder, stage, options.threads, deadline_s, GIB
                    )
                )
            return StagesSession(
                running,
                options.signature or stages.signature,
                int(numbers.get("in_flight", len(running) + 1)),
                Pool(int(numbers.get("buffers_mib", 1024) * _MIB)),
            )
        except BaseException as error:
            number = len(running)
            for one in running:
                one.close()
            if isinstance(error, ModelworksError) and number < len(stages.stages):
                error.message = f"stage {number} of {len(stages.stages)}: {error.message}"
                error.args = (error.message,)
            raise

    @staticmethod
    def host(
        path: Path, number: int, listen: str, options: EngineOptions, tls: Mapping[str, str]
    ) -> Host:
        """Offer one stage of the folder `path` to pipelines of other hosts.

        Args:
            path: of the artifact; the other stages' folders need not be there.
            number: of the stage, from 0.
            listen: `HOST:PORT`; port 0 = any.
            options: threads of its engine.
            tls: `tls_ca`, `tls_cert` and `tls_key`; empty on loopback alone.

        Raises:
            InvalidError: there is no such stage, or another machine could ask without TLS.
        """
        stages: Stages = read_stages(path, frozenset(range(16)) - {number})
        if not 0 <= number < len(stages.stages):
            raise InvalidError(
                f"there is no stage {number}: the artifact has {len(stages.stages)}", field="number"
            )
        return Host(Path(path), stages.stages[number], listen, options, certificates_of(tls))


def _hosts(text: str) -> dict[int, Address]:
    found: dict[int, Address] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        number, is_pair, where = part.partition("=")
        if not is_pair or not number.isdecimal() or len(number) > 2 or int(number) in found:
            raise InvalidError(
                f"hosts: '{part[:60]}' is not NUMBER=HOST:PORT, each number once", field="hosts"
            )
        found[int(number)] = address_of(where, "hosts")
    return found


def _number(name: str, text: str) -> float:
    low, high = _NUMBERS[name]
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not low <= value <= high or (name == "in_flight" and value != int(value)):
        raise InvalidError(
            f"{name}: '{text[:40]}' is no number from {low:g} to {high:g}", field=name
        )
    return value
