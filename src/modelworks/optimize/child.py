"""What runs in the sandbox's child: the facts of passes, and one pass on one form.

Passes are reached by entry point, here and nowhere else: their libraries take seconds to import
and may bring a process down.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from modelworks.core import codec
from modelworks.core.errors import MissingExtraError, ModelworksError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import Pass, Seconds
from modelworks.plugins.load import load

Progress = Callable[[str], None]


def facts(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The sandboxed function: names of passes in; facts, missing libraries and other troubles out.

    Each name is told before it is imported: the parent knows whose fault a death was.
    """
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    broken: dict[str, str] = {}
    for name in arguments["names"]:
        progress(name)
        try:
            found[name] = codec.encode(load("passes", name).facts)
        except MissingExtraError as error:
            missing[name] = error.missing
        except ModelworksError as error:
            broken[name] = error.message
        except Exception as error:  # noqa: BLE001 - somebody else's code, at its import
            broken[name] = f"{type(error).__name__}: {error}"[:300]
    return {"facts": found, "missing": missing, "broken": broken}


def apply(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The sandboxed function: one pass on one form.

    Returns:
        `applied`; or `unfit`, why the pass can do nothing good here; or `late`, the seconds that
        it would take, where those are more than `seconds`.

    Raises:
        ModelworksError: the pass's.
    """
    step: Pass = load("passes", arguments["pass"])()
    given = dict(arguments["job"])
    settings = settled(step.facts, given.pop("settings"))
    job = replace(codec.decode(PassJob, given), settings=settings)
    unfit = step.fits(job)
    if unfit:
        return {"unfit": unfit}
    if isinstance(step, Seconds):
        needed = float(step.seconds(job))
        if needed > arguments["seconds"]:
            return {"late": needed}
    progress(step.facts.title)
    return {"applied": codec.encode(step.apply(job))}
