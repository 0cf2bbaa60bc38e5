"""What `doctor` says of the registry's database and of its artifacts. Changes nothing."""

from pathlib import Path

from modelworks.cli.findings import Finding, State
from modelworks.core.errors import InvalidError, MissingExtraError, ModelworksError
from modelworks.core.home import Home, Stores


def stores(home: Home, told: Stores) -> list[Finding]:
    """The database and the artifacts of the local registry, each reached."""
    try:
        return [_database(told.database or home.database), _artifacts(home, told)]
    except ModuleNotFoundError as error:
        if (error.name or "modelworks").startswith("modelworks"):
            raise
        detail = f"cannot be looked at: no {error.name}"
        return [Finding("registry", State.NOTE, detail, 'pip install "modelworks[platform]"')]


def _database(where: Path | str) -> Finding:
    from modelworks.db.engine import look

    try:
        shown, revision = look(where)
    except ModelworksError as error:
        return _broken("database", error, "see MODELWORKS_DATABASE")
    state = f"schema {revision}" if revision else "empty: the first use makes its tables"
    return Finding("database", State.OK, f"{shown}, {state}")


def _artifacts(home: Home, told: Stores) -> Finding:
    from modelworks.blobs import remote
    from modelworks.blobs.store import BlobStore

    where = told.artifacts or home.blobs
    try:
        folder = remote.folder_of(where)
        if folder is not None:
            made = "" if folder.exists() else " (not made yet)"
            return Finding("artifacts", State.OK, f"{folder}{made}")
        blobs = BlobStore(where, told.access)
        blobs.reach()
    except ModelworksError as error:
        return _broken("artifacts", error, "see MODELWORKS_ARTIFACTS")
    return Finding("artifacts", State.OK, f"{blobs.where} answers")


def _broken(subject: str, error: ModelworksError, cure: str) -> Finding:
    if isinstance(error, MissingExtraError):
        what, _, cure = error.message.partition(": ")
        return Finding(subject, State.BROKEN, what, cure)
    field = error.field if isinstance(error, InvalidError) else None
    return Finding(subject, State.BROKEN, error.message, f"see {field}" if field else cure)
