"""Deletes versions, models and variants that nothing runs."""

from modelworks.client.endpoints import listed
from modelworks.core.errors import ConflictError
from modelworks.core.home import Home
from modelworks.core.model import ModelVersion
from modelworks.core.reference import parse_ref
from modelworks.deploy.service import Deployments
from modelworks.registry.service import Registry


def delete(registry: Registry, deployments: Deployments, home: Home, ref: str) -> list[str]:
    """Delete a version, with a bare name the model, with `#NAME` one variant of a version.

    Args:
        registry: of one tenant.
        deployments: of the same.
        home: whose servers are asked.
        ref: of what is to go.

    Returns:
        The references of what was deleted.

    Raises:
        ConflictError: a deployment runs it or can go back to it, a server was told to serve it, an
            alias points at it, or another version names it as parent.
        NotFoundError: there is no such thing.
    """
    found = parse_ref(ref, variants=True)
    form = found.variant
    whole = found.alias is None and found.version is None and not form
    version = None if whole else registry.show(str(found.of_version))
    if version is not None and form:
        registry.variant(version.ref, form)  # there is one
    number = None if version is None else str(version.version)
    for deployment, used, variant in deployments.using(found.name):
        if number in {None, used} and form in {"", variant}:
            what = f"{found.name}:{used}" + (f"#{variant}" if variant else "")
            raise ConflictError(
                f"deployment '{deployment}' runs {what}, or can go back to it: "
                f"modelworks delete --deployment {deployment}",
                field="ref",
            )
    if version is None or not form:
        return registry.delete(ref)
    _free(home, version, form)
    return [registry.remove_variant(version.ref, form).ref]


def _free(home: Home, version: ModelVersion, name: str) -> None:
    """Refuse where a server of this machine was told to serve a variant by its name.

    Raises:
        ConflictError: one was; the message says which.
    """
    for one in listed(home):
        for text in one.models:
            served, _, form = text.partition("#")
            if form == name and served in {version.ref, version.name}:
                raise ConflictError(
                    f"{text} is served at {one.url} (process {one.pid}): end that server first",
                    field="ref",
                )
