"""Memory that the workers of one port share for routes; a supervisor makes it and loads no more."""

from typing import Final

from modelworks.protocol.routes.limits import CELLS, SUBJECTS

LIMITS_BYTES: Final = 8 * CELLS * SUBJECTS
"""Of what limits are counted in."""
