"""A body over HTTP within bounds of time and size, from somebody who may be anybody."""

from collections.abc import Mapping

import urllib3


def body_of(
    pool: urllib3.PoolManager,
    url: str,
    most: int,
    deadline_s: float,
    headers: Mapping[str, str] | None = None,
) -> bytes | None:
    """The body of a 200 answer; None = there was none in time, or a longer one.

    Args:
        pool: of connections.
        url: that is asked by GET; a redirection is not followed.
        most: bytes.
        deadline_s: for all of it.
        headers: of the request.
    """
    try:
        answer = pool.request(
            "GET",
            url,
            headers=headers,
            timeout=urllib3.Timeout(total=deadline_s),
            preload_content=False,
            redirect=False,
        )
        try:
            body = answer.read(most + 1)
        finally:
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return None
    return body if answer.status == 200 and len(body) <= most else None
