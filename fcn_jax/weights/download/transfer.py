"""Continues a partial download with one HTTP request at a time."""

import contextlib
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, cast

from fcn_jax.weights.download.progress import OnProgress

SILENCE_SECONDS = 30.0  # a server that sends nothing for so long has stalled
SLOWEST = 1024  # bytes a second over SILENCE_SECONDS; a slower server counts as stalled too
LONGEST_WAIT = 60.0  # seconds; a longer Retry-After of the server is cut to this
LARGEST = 4 << 30  # bytes; stops an endless answer before it fills the disk. Published files are much smaller
_CHUNK = 1 << 18
_PASSING = {408, 425, 429}  # client errors that may pass with time, like server errors (5xx)


class Fault(Exception):
    """The transfer failed for a reason that may pass, so it can be repeated.

    Attributes:
      wait: the seconds that the server asked to wait, or None.
    """

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class Refusal(Exception):
    """The transfer failed for a reason that stays, so it is not repeated."""


class Transfer:
    """Downloads the file at `url` into `part`, in as many requests as needed.

    Args:
      url: an http or https address; redirects are followed, proxies are taken from the environment.
      part: the partial file. Its bytes are kept, and only the rest is requested.
      size: the file's length, if known.
      on_progress: called after each piece.
    """

    def __init__(self, url: str, part: Path, size: int | None, on_progress: OnProgress):
        self.url, self.part, self.size, self.on_progress = url, part, size, on_progress
        self.etag: str | None = None

    def attempt(self) -> None:
        """Makes one request and appends its bytes; returns when nothing is missing.

        Raises:
          Fault: the connection or the server failed; `part` keeps the bytes received.
          Refusal: the server will not give this file.
          OSError: `part` cannot be written.
        """
        start = self.part.stat().st_size if self.part.exists() else 0
        request = urllib.request.Request(self.url, headers={"User-Agent": "fcn_jax"})
        if start:
            request.add_header("Range", f"bytes={start}-")
            if self.etag:  # asks for the rest of the same file, or all of a new one
                request.add_header("If-Range", self.etag)
        with _open(request) as response:
            start, total = self._extent(response, start)
            self._receive(response, start, total)

    def _start_over(self, reason: str) -> NoReturn:
        self.part.unlink(missing_ok=True)
        raise Fault(f"{reason}; starting from the first byte")

    def _extent(self, response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
        """Reads from the headers the first byte's position and the size of the whole file."""
        if response.status == 206:
            span = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
            )
            if not span or int(span[1]) != start:
                self._start_over(f"the server did not send the part after byte {start}")
            total = None if span[2] == "*" else int(span[2])
        elif response.status == 200:
            length = response.headers.get("Content-Length", "")
            start, total = 0, int(length) if length.isdecimal() else None
        elif response.status == 416 and start:
            self._start_over("the server has no bytes after those kept from before")
        else:
            raise _unwelcome(response)
        if self.size is not None and total not in (None, self.size):
            raise Fault(f"the server announced a file of {total:,} bytes, expected {self.size:,}")
        if total is None:
            total = self.size
        etag = response.headers.get("ETag", "")
        # A weak one (W/"...") does not promise equal bytes.
        self.etag = etag if etag.startswith('"') else None
        return start, total

    def _receive(self, response: http.client.HTTPResponse, start: int, total: int | None) -> None:
        with open(self.part, "ab" if start else "wb", opener=_without_following) as file:
            free = shutil.disk_usage(self.part.parent).free
            if total is not None and total - start > free:
                raise Refusal(
                    f"{(total - start) / 2**20:,.1f} MiB are still to come, but "
                    f"{self.part.parent} has {free / 2**20:,.1f} MiB free; "
                    "make room, or set FCN_JAX_CACHE to another folder"
                )
            here = mark = start
            mark_time, limit = time.monotonic(), self.size or LARGEST
            while (total is None or here < total) and here <= limit:
                with _network():
                    piece = response.read1(_CHUNK)
                if not piece:
                    break
                file.write(piece)
                here += len(piece)
                self.on_progress(here, total)
                elapsed = time.monotonic() - mark_time
                if elapsed > SILENCE_SECONDS:
                    if here - mark < SLOWEST * elapsed:
                        raise Fault(f"only {here - mark:,} bytes came in {elapsed:.0f} s")
                    mark, mark_time = here, time.monotonic()
        if here > limit:
            self._start_over(f"the server sent more than {limit:,} bytes")
        if total is not None and here != total:
            raise Fault(f"the connection ended after {here:,} of {total:,} bytes")


def _without_following(path: str, flags: int) -> int:
    """Opens a file, but no link that someone put in its place."""
    held = not Path(path).is_char_device()  # such a device keeps nothing that could be overwritten
    return os.open(path, flags | (getattr(os, "O_NOFOLLOW", 0) if held else 0), 0o666)


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    with _network():
        try:
            return urllib.request.urlopen(request, timeout=SILENCE_SECONDS)
        except urllib.error.HTTPError as answer:  # returned like any answer; the caller reads its status
            return cast(http.client.HTTPResponse, answer)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Turns network errors into Fault or Refusal, so that only the disk raises OSError."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error  # URLError wraps the real error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise Refusal(f"the server's certificate was not accepted ({reason})") from error
        if isinstance(reason, TimeoutError):
            raise Fault(f"the server was silent for {SILENCE_SECONDS:g} s") from error
        raise Fault(f"the connection failed ({str(reason) or type(reason).__name__})") from error


def _unwelcome(response: http.client.HTTPResponse) -> Fault | Refusal:
    reason = f"the server answered HTTP {response.status} {response.reason}"
    if response.status < 500 and response.status not in _PASSING:
        return Refusal(reason)
    wait = response.headers.get("Retry-After", "")
    return Fault(reason, wait=min(float(wait), LONGEST_WAIT) if wait.isdecimal() else None)
