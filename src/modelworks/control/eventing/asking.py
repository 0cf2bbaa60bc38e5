"""How a message asks a model server, and which broker a URL means."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlsplit

from modelworks.client.data import PREDICT_SECONDS, model_path
from modelworks.client.wire import Wire
from modelworks.control.eventing.pump import Answer
from modelworks.core.errors import InvalidError
from modelworks.core.reference import parse_ref
from modelworks.core.seams import Event

INFER: Final = "infer"
PREDICT: Final = "predict"
FORMS: Final = (INFER, PREDICT)
_LENGTH: Final = "inference-header-content-length"
_JSON: Final = "application/json"


def asker(wire: Wire, model: str, form: str) -> Callable[[Event], Answer]:
    """Asks a model for what a message says.

    Args:
        wire: to the server.
        model: `fraud`, `fraud@champion` or `fraud:1.4.0`.
        form: `infer`: messages are inference requests; `predict`: plain rows.

    Raises:
        InvalidError: no model's name, or no form.
    """
    ref = parse_ref(model)
    if form not in FORMS:
        raise InvalidError(f"'{form}' is none of {', '.join(FORMS)}", field="form")
    path = f"/v2/models/{model_path(ref)}/infer"
    if form == PREDICT:
        path = f"/predict/{quote(str(ref), safe='@:')}"

    def ask(event: Event) -> Answer:
        headers = {"Content-Type": event.headers.get("content-type", _JSON)}
        headers["X-Request-Id"] = "".join(c for c in event.id if " " < c < "\x7f")[:128]
        if _LENGTH in event.headers:
            headers[_LENGTH] = event.headers[_LENGTH]
        headers = {name: value for name, value in headers.items() if value}
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise InvalidError(
                    f"{name} of the message: printable ASCII is wanted", field=name.lower()
                )
        body, told = wire.send(
            "POST", path, body=event.data, headers=headers, seconds=PREDICT_SECONDS
        )
        return Answer(body, told.get("Content-Type", _JSON), told.get(_LENGTH, ""))

    return ask


def broker_of(url: str) -> tuple[str, dict[str, str]]:
    """The broker of a URL, and its settings.

    Args:
        url: `nats://HOST:PORT/SUBJECT`, `mqtt://HOST:PORT/TOPIC`, `kafka://HOST:PORT/TOPIC`.

    Raises:
        InvalidError: another form.
    """
    found = urlsplit(url)
    rest = found.path.removeprefix("/")
    if url.endswith("#") or found.fragment:  # in a topic it stands for many
        rest += f"#{found.fragment}"
    named = {"subject": rest} if rest else {}
    if found.netloc and found.scheme in {"nats", "tls"}:
        return "nats", {"url": f"{found.scheme}://{found.netloc}", **named}
    if found.netloc and found.scheme in {"mqtt", "mqtts"}:
        return "mqtt", {"url": f"{found.scheme}://{found.netloc}", **named}
    if found.netloc and found.scheme == "kafka":
        return "kafka", {"brokers": found.netloc, **named}
    raise InvalidError(
        "--from: nats://HOST:PORT/SUBJECT, mqtt://HOST:PORT/TOPIC or kafka://HOST:PORT/TOPIC is "
        "wanted",
        field="from",
    )
