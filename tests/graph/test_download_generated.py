"""Generated hosts: whatever they do, what is delivered as whole is one whole version of the file, or nothing is."""

import random
from typing import Any, NamedTuple

import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st

from backup_core.graph.download import Changed, Downloads, ItemFailed
from backup_core.graph.gate import Gate
from backup_core.graph.items import DriveItem
from backup_core.graph.links import LinkRule
from backup_core.graph.quickxorhash import QuickXorHash
from backup_core.testing.fake_clock import FakeClock

SIZES = (0, 1, 500, 2000)


class Act(NamedTuple):
    """What the host does with one request."""

    status: int  # 200 whole, 206 rest, or a refusal
    cut: float  # share of the body after which the connection breaks
    silent: bool  # whether it breaks without anybody noticing, where the body has no length
    framed: bool  # whether the length is said
    tagged: bool  # whether the version is said
    shift: int  # how far beside the range that was asked for
    edited: bool  # whether the file becomes another one just before


ACTS = st.builds(
    Act,
    status=st.sampled_from((200, 206, 206, 401, 404, 416, 500)),
    cut=st.sampled_from((0.0, 0.3, 0.9, 1.0, 1.0)),
    silent=st.booleans(),
    framed=st.booleans(),
    tagged=st.booleans(),
    shift=st.sampled_from((0, 0, 0, 1, -1)),
    edited=st.sampled_from((False, False, False, True)),
)


class Raw:
    """The reading end of a connection that breaks where it is told to."""

    def __init__(self, body: bytes, cut: int, silent: bool, rng: random.Random) -> None:
        self.body, self.broken, self.silent, self.rng = body[:cut], cut < len(body), silent, rng

    def read1(self, length: int, decode_content: bool) -> bytes:
        piece, self.body = self.body[: (n := self.rng.randint(1, length))], self.body[n:]
        if not piece and self.broken and not self.silent:
            raise urllib3.exceptions.ProtocolError("broken")
        return piece

    def close(self) -> None:
        """Nothing is held."""


class Host(Downloads):
    """Plays both Graph and the content host, from a script."""

    def __init__(self, clock: FakeClock, versions: list[bytes], hashed: bool, acts: list[Act], seed: int) -> None:
        rule = LinkRule("https://graph.microsoft.com")
        super().__init__(Any, requests.Session(), rule, Gate(clock), clock)  # type: ignore[arg-type]
        self.versions, self.hashed, self.acts = versions, hashed, acts
        self.rng = random.Random(seed)
        self.version = 0

    def look_up(self, drive_id: str, item_id: str) -> tuple[DriveItem, str]:
        content = self.versions[self.version]
        running = QuickXorHash()
        running.update(content)
        quickxor = running.base64() if self.hashed and content else ""
        return DriveItem("01F", size=len(content), quickxor=quickxor, etag=f"v{self.version}"), "https://x"

    def ask(self, link: str, headers: dict[str, str]) -> requests.Response:
        act = self.acts.pop(0) if self.acts else Act(200, 1.0, False, True, True, 0, False)
        if act.edited:
            self.version = min(self.version + 1, len(self.versions) - 1)
        content = self.versions[self.version]
        response = requests.Response()
        response.status_code = act.status
        first = 0
        if act.status == 206:
            asked = headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
            first = max(0, min(int(asked) + act.shift, len(content)))
            response.headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[first:] if act.status in (200, 206) else b""
        if act.tagged:
            response.headers["ETag"] = f'"{self.version}"'
        if act.framed:
            response.headers["Content-Length"] = str(len(body))
        response.raw = Raw(body, int(act.cut * len(body)), act.silent, self.rng)
        return response


def read(host: Host) -> tuple[bytes, Any] | None:
    try:
        with host.open("b!x", "01F") as body:
            buffer = memoryview(bytearray(300))
            content = b""
            while count := body.readinto(buffer):
                content += bytes(buffer[:count])
            return content, body
    except (ItemFailed, Changed):
        return None


@given(st.sampled_from(SIZES), st.booleans(), st.lists(ACTS, max_size=8), st.integers(0, 1 << 32))
def test_one_whole_version_or_none(size: int, hashed: bool, acts: list[Act], seed: int) -> None:
    """Cuts, lies about ranges, edits in between, lengths and tags left out: no mixture and no stump is ever whole."""
    rng = random.Random(seed)
    versions = [rng.randbytes(size) for _ in range(3)]
    result = read(Host(FakeClock(), versions, hashed, acts, seed))
    if result is not None:
        content, body = result
        assert content in versions
        if body.verdict == "verified":
            assert body.item.size == len(content)
            assert not hashed or versions[int(body.item.etag.removeprefix("v"))] == content


@given(st.sampled_from(SIZES), st.lists(ACTS, max_size=3), st.integers(0, 1 << 32))
def test_an_honest_end_is_reached(size: int, acts: list[Act], seed: int) -> None:
    """After three tries of any kind without an edit, a host that turns honest delivers the file, verified."""
    content = random.Random(seed).randbytes(size)
    acts = [act._replace(edited=False, status=act.status if act.status < 400 else 500) for act in acts]
    result = read(Host(FakeClock(), [content], True, acts, seed))
    assert result is not None
    assert (result[0] == content, result[1].verdict) == (True, "verified")
