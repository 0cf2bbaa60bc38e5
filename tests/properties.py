"""How many examples a property test looks at: few and the same ones every time, or many new ones.

The usual run must say the same twice and must not depend on how busy the machine is. The full run
(`HYPOTHESIS_PROFILE=full`, which `make test-full` sets) is the one that looks for what is new.
"""

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "usual")
MORE = {"usual": 1, "full": 10}
"""How many times the usual number of examples each profile takes."""

_ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", _ANY_MACHINE, max_examples=50, derandomize=True, database=None)
settings.register_profile("full", _ANY_MACHINE, max_examples=50 * MORE["full"], print_blob=True)
settings.load_profile(PROFILE)


def examples(usual: int, **more: object) -> settings:
    """Settings of a test that needs another number of examples than the profile's."""
    return settings(max_examples=usual * MORE[PROFILE], **more)
