"""Where a file is cut: FastCDC, so that an insertion moves only the cuts near it. It does not read files.

The numbers are fixed, for ever and for everybody: other numbers would cut the same files elsewhere, and each of them
would be stored again. A chunk of 1 MiB on average keeps index and requests small (a million chunks per TiB); 512 KiB at
least, because smaller cuts save little in office files; 8 MiB at most, because a reader must hold a chunk in memory.
"""

from backup_core.errors import DrivekeepError

try:
    from fastcdc.fastcdc_cy import fastcdc_cy
except ImportError as error:
    raise DrivekeepError(
        "fastcdc is installed without its compiled half.",
        why="The pure one cuts at 18 MB a second, a hundredth of the speed.",
        remedy="Install the pinned version from a wheel that fits this Python and C library.",
    ) from error

MIN_BYTES = 512 << 10
AVERAGE_BYTES = 1 << 20
MAX_BYTES = 8 << 20
WINDOW_BYTES = MAX_BYTES + (1 << 20)  # more than MAX_BYTES, so that a full window always holds a final cut


def cut(window: memoryview, at_end: bool) -> list[memoryview]:
    """The final chunks at the front of `window`, as views into it.

    `at_end`: the window ends where the file ends; then the chunks cover all of it. Otherwise the window must be longer
    than MAX_BYTES, and the chunk that touches its end is not among them: more bytes might move its cut. The caller
    carries what is not covered to the front of the next window; then the cuts are those of the file as a whole.
    """
    assert at_end or len(window) > MAX_BYTES
    cuts = fastcdc_cy(window, min_size=MIN_BYTES, avg_size=AVERAGE_BYTES, max_size=MAX_BYTES)
    chunks = [window[cut.offset : cut.offset + cut.length] for cut in cuts]
    if not at_end:
        chunks.pop()
    return chunks
