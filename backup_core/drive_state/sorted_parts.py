"""Records of a whole drive on their way into a rebuilt map, sorted part by part. Lost with the process."""

from collections.abc import Iterator


class SortedParts:
    """Fixed-width records in 256 byte arrays by the first byte of the key: a million cost little more than their bytes.

    Of equal keys the last one put wins. Keys are hashes, so the parts are of about equal size.
    """

    def __init__(self, key: int, value: int) -> None:
        self._key, self._width = key, key + value
        self._parts = [bytearray() for _ in range(256)]

    def put(self, key: bytes, value: bytes) -> None:
        part = self._parts[key[0]]
        part += key + value

    def drain(self) -> Iterator[list[bytes]]:
        """Lists of records; one after another they are all records in order. What was given is given up."""
        for number, part in enumerate(self._parts):
            records = (bytes(part[at : at + self._width]) for at in range(0, len(part), self._width))
            last = {record[: self._key]: record for record in records}
            self._parts[number] = bytearray()
            if last:
                yield [last[key] for key in sorted(last)]
