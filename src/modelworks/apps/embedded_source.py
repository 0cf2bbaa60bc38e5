"""Where an embedded model's versions come from: this machine's registry, or a control plane."""

import hashlib
import logging
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from modelworks.apps.embed import Settings, local
from modelworks.client.http import HttpTransport
from modelworks.control import forms, plan
from modelworks.core import digest as digests
from modelworks.core.errors import ModelworksError, NotFoundError, UnsupportedError
from modelworks.core.graphs import GRAPH
from modelworks.core.model import ModelVersion
from modelworks.core.optimizing.variants import SOURCE, Variant
from modelworks.core.reference import ModelRef
from modelworks.core.served import (
    Batching,
    Isolation,
    ServedList,
    ServedModel,
    read_served,
    write_served,
)

_log = logging.getLogger("modelworks.embedded")
_OLD_S: Final = 3600.0  # a folder younger than this may be another process's newest


class Source(ABC):
    """Finds the version that a reference points at now, and lays its files out."""

    @abstractmethod
    def find(self) -> ModelVersion:
        """The version, cheaply: no file is touched.

        Raises:
            ModelworksError: there is none, or nobody can be asked.
        """

    @abstractmethod
    def fetch(self, version: ModelVersion) -> ServedModel:
        """The form of it that is meant, its files on this machine, as a line of a served list.

        Raises:
            ModelworksError: a file is damaged or gone, or cannot be had now; or a variant that is
                asked for by name is not there, or nothing for this machine.
        """

    def keep(self, model: ServedModel) -> None:  # noqa: B027 - a registry at hand keeps itself
        """Remember what answers now, for a start when nobody can be asked."""

    def kept(self) -> ServedModel | None:
        """What was remembered, where its files are still whole."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Give connections back."""


def source_of(settings: Settings, ref: ModelRef) -> Source:
    """The source that the settings name.

    Args:
        settings: which registry or control plane.
        ref: of a version, and the form of it that is wanted; none = as it was imported.

    Raises:
        MissingExtraError: this machine's registry, without its libraries.
    """
    return _Remote(settings, ref) if settings.url else _Local(settings, ref)


def _found(show: Callable[[str], ModelVersion], ref: ModelRef) -> ModelVersion:
    """As the server resolves: a bare name is its champion, else its latest.

    Raises:
        UnsupportedError: it is a graph.
    """
    found: ModelVersion | None = None
    if ref.alias is None and ref.version is None:
        with suppress(NotFoundError):
            found = show(f"{ref.name}@{plan.CHAMPION}")
    found = found or show(str(ref.of_version))
    if found.artifact.format == GRAPH:
        raise UnsupportedError(
            f"{found.ref} is a graph, and its models have to be in the same server: serve it with "
            "`modelworks serve`, and ask it by its URL",
            field="ref",
        )
    return found


class _Local(Source):
    """The registry on this machine."""

    def __init__(self, settings: Settings, ref: ModelRef) -> None:
        self._factory = local(settings.home, settings.stores)
        self._ref = ref

    def find(self) -> ModelVersion:
        return _found(self._factory.show, self._ref)

    def fetch(self, version: ModelVersion) -> ServedModel:
        want = self._ref.variant or SOURCE
        return self._factory.resolve((version.ref,), want, _log.info).models[0]

    def close(self) -> None:
        self._factory.close()


class _Remote(Source):
    """A control plane at a URL; files are kept in `HOME/embedded`."""

    def __init__(self, settings: Settings, ref: ModelRef) -> None:
        self._transport = HttpTransport(settings.url, settings.tls, settings.key)
        self._ref = ref
        self._folder = settings.home.root / "embedded"
        name = hashlib.sha256(f"{settings.url}\0{ref}".encode()).hexdigest()[:24]
        self._record = self._folder / f"{name}.json"

    def find(self) -> ModelVersion:
        return _found(self._transport.show, self._ref)

    def fetch(self, version: ModelVersion) -> ServedModel:
        variant = self._form(version)
        folder = self._transport.materialise(version, self._folder, variant)
        choice = plan.Choice(
            version.name, version.version, version.artifact.digest, (), default=True
        )
        return plan.served(version, str(folder), choice, variant)

    def _form(self, version: ModelVersion) -> Variant | None:
        want = self._ref.variant
        if not want:
            return None
        found = forms.chosen(version.ref, self._transport.variants(version.ref), want, forms.here())
        name = found.variant.name if found.variant else SOURCE
        _log.info("%s: %s is %s: %s", version.ref, want, name, found.why)
        return found.variant

    def keep(self, model: ServedModel) -> None:
        write_served(self._record, ServedList(1, (model,)))
        self._clear()

    def kept(self) -> ServedModel | None:
        try:
            [model] = read_served(self._record).models
            whole = digests.of_entries(digests.tree(Path(model.path))) == model.digest
        except (ModelworksError, OSError, ValueError):
            return None
        return model if whole else None

    def close(self) -> None:
        self._transport.close()

    def _clear(self) -> None:
        """Remove folders that no record names; a young one may just be arriving."""
        named = set()
        for record in self._folder.glob("*.json"):
            with suppress(ModelworksError):
                named |= {Path(model.path).name for model in read_served(record).models}
        for folder in self._folder.iterdir():
            with suppress(OSError):
                old = folder.stat().st_mtime < time.time() - _OLD_S
                if folder.is_dir() and folder.name not in named and old:
                    shutil.rmtree(folder)


def plain(model: ServedModel, batching: Batching, isolation: Isolation) -> ServedModel:
    """The line as an embedded table wants it: the only one of its model, without other names."""
    return replace(
        model, default=True, aliases=(), autoload=True, batching=batching, isolation=isolation
    )
