"""What a handler is told of its model and of the requests of one batch."""

from collections.abc import Callable
from typing import Any


class Metrics:
    """Takes what a handler measures; nothing is kept."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._taken

    @staticmethod
    def _taken(*_values: Any, **_named: Any) -> "Metrics":
        return Metrics()


class RequestProcessor:
    """Headers of one request, and what the handler says of its answer."""

    def __init__(self, request_header: dict[str, Any]) -> None:
        self._asked = request_header
        self._answered: dict[str, str] = {}
        self._status: tuple[int, str | None] = (200, None)

    def get_request_property(self, key: str) -> Any:
        """A header."""
        return self._asked.get(key)

    def get_request_properties(self) -> dict[str, Any]:
        """All headers."""
        return self._asked

    def report_status(self, code: int, reason_phrase: str | None = None) -> None:
        """Keep the status."""
        self._status = (code, reason_phrase)

    def get_response_status_code(self) -> int:
        """As reported; 200 where nothing was."""
        return self._status[0]

    def get_response_status_phrase(self) -> str | None:
        """As reported."""
        return self._status[1]

    def add_response_property(self, key: str, value: str) -> None:
        """Keep a header of the answer."""
        self._answered[key] = value

    def get_response_headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return self._answered

    def get_response_header(self, key: str) -> str | None:
        """One of them."""
        return self._answered.get(key)


class Context:
    """What a handler is told of its model and of the requests of one batch."""

    def __init__(  # noqa: PLR0913, PLR0917 - TorchServe's own
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any],
        batch_size: int,
        gpu: int | None,
        mms_version: str,
        limit_max_image_pixels: bool = True,  # noqa: FBT001, FBT002 - the same
        metrics: Any = None,
        model_yaml_config: dict[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest = manifest
        self.metrics = metrics or Metrics()
        self.model_yaml_config = model_yaml_config or {}
        self.request_ids: dict[int, str] | None = None
        self.request_processor: list[RequestProcessor] = []
        self.stopping_criteria = None
        self.system_properties = {
            "model_dir": model_dir,
            "gpu_id": gpu,
            "batch_size": batch_size,
            "server_name": "MMS",
            "server_version": mms_version,
            "limit_max_image_pixels": limit_max_image_pixels,
        }

    def get_request_id(self, idx: int = 0) -> str | None:
        """Of one request of the batch."""
        return (self.request_ids or {}).get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        """One header of a request."""
        return self.request_processor[idx].get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """All headers of a request."""
        return self.request_processor[idx].get_request_properties()

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Kept; the answer is bytes here."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        """As set."""
        return self.get_response_headers(idx).get("content-type")

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Kept."""
        self.request_processor[idx].add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """Headers of the answer."""
        return self.request_processor[idx].get_response_headers()

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Of one answer."""
        self.request_processor[idx].report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Of every answer."""
        for processor in self.request_processor:
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int, str | None]:
        """Code and phrase."""
        processor = self.request_processor[idx]
        return processor.get_response_status_code(), processor.get_response_status_phrase()
