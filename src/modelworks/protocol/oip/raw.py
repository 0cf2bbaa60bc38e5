"""The binary part behind the JSON of a request or an answer."""

from typing import Any

from modelworks.core.errors import InvalidError
from modelworks.protocol.tensors import shown


class Raw:
    """The binary part, handed out tensor by tensor."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: memoryview) -> None:
        """Begin with the first tensor."""
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """Bytes not handed out yet."""
        return len(self._data) - self._position

    def take(self, name: str, size: Any, where: str) -> memoryview:
        """The next tensor's bytes.

        Raises:
            InvalidError: `size`, a JSON value, is no number of bytes that is left.
        """
        where = f"{where}.parameters.binary_data_size"
        if type(size) is not int or size < 0:
            raise InvalidError(
                f"tensor '{name}': binary_data_size must be a number of bytes, got {shown(size)}",
                field=where,
            )
        if size > self.left:
            raise InvalidError(
                f"tensor '{name}': binary_data_size is {size} and only {self.left} bytes are left",
                field=where,
            )
        start = self._position
        self._position += size
        return self._data[start : self._position]
