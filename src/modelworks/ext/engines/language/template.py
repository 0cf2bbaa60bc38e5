"""Chat templates: conversations as text, by the Jinja program that comes with a model.

The program is the model's, so a stranger's: Jinja's sandbox runs it, in the model's own process,
and what it writes is bounded. How long it takes, the server bounds: it ends the process.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelworks.core.errors import InvalidError
from modelworks.ext.engines.language.lines import LONGEST_TEXT

_PLAIN: Final = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
)
_TRIAL: Final = ({"role": "user", "content": "hello"},)


class Template:
    """One model's.

    Args:
        text: the program; empty = `role: content`, a line each.
        marks: further variables: `bos_token`, `eos_token`.

    Raises:
        InvalidError: it is no template, or fails with a plain question.
    """

    def __init__(self, text: str, marks: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,  # what is written is no HTML
            extensions=["jinja2.ext.loopcontrols"],
        )
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        self._marks = dict(marks)
        try:
            self._program = environment.from_string(text or _PLAIN)
        except (TemplateError, RecursionError) as error:
            raise InvalidError(f"the chat template is none: {_said(error)}") from error
        self.write(_TRIAL)

    def write(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text of a prompt that the model's answer follows.

        Raises:
            InvalidError: the template refuses them, or fails.
        """
        parts, size = [], 0
        try:
            for part in self._program.generate(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                **self._marks,
            ):
                parts.append(part)
                size += len(part)
                if size > LONGEST_TEXT:
                    _refuse("it writes without an end")
        except Exception as error:  # a stranger's program
            raise InvalidError(
                f"the model's chat template refuses this conversation: {_said(error)}",
                field="messages",
            ) from error
        return "".join(parts)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(str(message))


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _said(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
