"""A pipeline of a CI system: a text with a few holes, and what may go into them."""

import re
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from typing import Final

from modelworks.core.errors import InvalidError

FILES: Final = {
    "github": ".github/workflows/modelworks.yml",
    "gitlab": ".gitlab-ci.yml",
    "jenkins": "Jenkinsfile",
}
"""CI system -> where it looks for its pipeline."""

EXTRAS: Final = "platform,postgres,docker,kubernetes"

_TEXTS: Final = {"github": "github.yml", "gitlab": "gitlab.yml", "jenkins": "Jenkinsfile"}
_HOLE: Final = re.compile("@([A-Z]+)@")
# What goes unquoted into YAML, Groovy and shell alike.
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}")
_NUMBER: Final = re.compile(r"3\.[0-9]{1,2}")

# One line each, without a single quote or a backslash: they stand in quotes, of Groovy too.
_MODELS: Final = (
    'import json, sys; found = json.load(sys.stdin)["documents"]; '
    'sys.stdout.writelines(sorted({one["model"] + chr(10) for one in found if one["model"]}))'
)
_SAID: Final = (
    "import json, sys; "
    'print(next((n["id"] for n in json.load(sys.stdin) if "<!-- modelworks plan -->" in n["body"]),'
    ' ""))'
)
_LOGIN: Final = (
    'export DOCKER_CONFIG="$(mktemp -d)"; '
    """printf '{"auths":{"%s":{"auth":"%s"}}}' "${REPOSITORY%%/*}" """
    '"$(printf %s:%s "$REGISTRY_USER" "$REGISTRY_PASSWORD" | base64 -w0)" '
    '> "$DOCKER_CONFIG/config.json"'
)


@dataclass(frozen=True, slots=True)
class Holes:
    """What is different from project to project.

    Attributes:
        manifest: path of the manifest in the repository.
        environment: whose overlays are put on, and which approves.
        branch: that is deployed.
        repository: of container images; each model gets one below it.
        base: image that they stand on.
        python: version of the job's Python.
    """

    manifest: str = "modelworks.yaml"
    environment: str = "production"
    branch: str = "main"
    repository: str = "registry.example.com/models"
    base: str = "docker.io/library/python:3.12-slim"
    python: str = "3.12"


def pipeline(system: str, holes: Holes) -> str:
    """The file of a CI system.

    Args:
        system: one of `FILES`.
        holes: of this project.

    Raises:
        InvalidError: a value that would need quotes; `field` says which.
    """
    values = {
        "MANIFEST": _checked("manifest", holes.manifest),
        "ENVIRONMENT": _checked("environment", holes.environment),
        "BRANCH": _checked("branch", holes.branch),
        "REPOSITORY": _checked("repository", holes.repository),
        "BASE": _checked("base", holes.base),
        "PYTHON": _checked("python", holes.python, _NUMBER),
        "VERSION": version("modelworks"),
        "EXTRAS": EXTRAS,
        "MODELS": _MODELS,
        "SAID": _SAID,
        "LOGIN": _LOGIN,
    }
    text = (resources.files("modelworks.cli.ci") / _TEXTS[system]).read_text(encoding="utf-8")
    return _HOLE.sub(lambda match: values[match[1]], text)


def _checked(field: str, value: str, pattern: re.Pattern[str] = _WORD) -> str:
    if pattern.fullmatch(value) is None:
        raise InvalidError(
            f"--{field}: '{value[:80]}' cannot stand in a pipeline; letters, digits and ._/:@- can",
            field=field,
        )
    return value
