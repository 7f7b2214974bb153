"""The footer of a Parquet file: its columns and rows, read without a library.

The footer is a `FileMetaData` of Thrift's compact protocol, before the last 8 bytes, which are
its length and `PAR1` (github.com/apache/parquet-format). Field 2 is the schema, a tree in
depth-first order whose root has no value of its own; field 3 the number of rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MAGIC = b"PAR1"
SCHEMA_BYTES = 2**16
"""As much of a footer as is read; statistics of row groups follow, and can be long."""
MAX_NESTING = 16

_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(
    13
)


class Footer(NamedTuple):
    """What the footer says."""

    columns: list[str]
    num_rows: int


def footer_bytes(tail: bytes) -> int:
    """Return how long the footer is, from the last 8 bytes of a file; 0 if it is no Parquet."""
    return int.from_bytes(tail[:4], "little") if len(tail) == 8 and tail[4:] == MAGIC else 0


def read_footer(footer: bytes) -> Footer | None:
    """Read the beginning of a footer; None where it is damaged."""
    try:
        metadata = _Reader(footer).struct(0, last=3)
        schema, num_rows = metadata[2], metadata[3]
        columns = [element[4].decode("utf-8") for element in _children(schema)]
    except (IndexError, KeyError, TypeError, AttributeError, ValueError):
        return None
    if not isinstance(num_rows, int) or num_rows < 0:
        return None
    return Footer(columns, num_rows)


def _children(schema: list[Any]) -> list[Any]:
    """Return the elements directly below the root: the columns."""
    found = []
    position = 1
    for _ in range(schema[0][5]):
        found.append(schema[position])
        pending = 1
        while pending:  # past the element and everything below it
            pending += schema[position].get(5, 0) - 1
            position += 1
    return found


class _Reader:
    """Thrift's compact protocol, as far as it occurs here. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self, depth: int, last: int = 2**15) -> dict[int, Any]:
        """Return the values by field number, up to the field `last`."""
        fields: dict[int, Any] = {}
        number = 0
        while number != last:
            header = self._byte()
            kind = header & 15
            if kind == _STOP:
                return fields
            number = number + (header >> 4) if header >> 4 else self._zigzag()
            fields[number] = kind == _TRUE if kind <= _FALSE else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MAX_NESTING:
            raise ValueError("nested too deeply")
        if kind == _BYTE:
            return self._byte()
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            header = self._byte()
            size = self._varint() if header >> 4 == 15 else header >> 4
            inner = _BYTE if header & 15 <= _FALSE else header & 15
            return [self._value(inner, depth + 1) for _ in range(size)]
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError("unknown type")

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _take(self, size: int) -> bytes:
        value = self._data[self._at : self._at + size]
        if len(value) != size:
            raise IndexError
        self._at += size
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
