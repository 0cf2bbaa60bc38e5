"""What the owner of a listening address should hear about who reaches it."""

from typing import Final

_LOOPBACK: Final = ("127.", "::1", "localhost")


def public(host: str) -> bool:
    """Whether other machines may reach who listens there."""
    return not host.startswith(_LOOPBACK)


def exposure(host: str, harm: str, *, keys: bool, tls: bool, cure: str = "") -> str:
    """A warning of an address that nobody guards; empty = all is well.

    Args:
        host: that is listened on.
        harm: what everybody could do there (`change the registry`).
        keys: API keys are asked for.
        tls: it speaks TLS.
        cure: what helps beside keys; begins with a comma or a word.
    """
    if not public(host) or (keys and tls):
        return ""
    if keys:
        return (
            f"listening on {host} without TLS: who is on the way can read the API keys; give "
            "--tls-cert and --tls-key, unless a proxy or the network does so"
        )
    return (
        f"listening on {host}: everybody who reaches this address can {harm}; ask for API keys "
        f"(--keys, see `modelworks keys add`){cure}"
    )
