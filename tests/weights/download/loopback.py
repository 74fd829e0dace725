"""A web server on this machine that misbehaves as told.

`Loopback.script` holds one step for each request to come; when it is empty every request is answered well.
A step is a function of the handler, which knows the server (`server.content`) and the request.
"""

import contextlib
import hashlib
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fcn_jax.weights import Weights, fetch

MOST_REQUESTS = 500
CONTENT = random.Random(0).randbytes(200_000)


class Loopback(ThreadingHTTPServer):
    """Serves `content` under every path and counts.

    Attributes:
      script: the steps for the next requests.
      ranges: the Range header of each request so far, None where there was none.
      if_ranges: likewise If-Range.
      sent: the number of body bytes sent in answer to each request.
    """

    daemon_threads = True

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.digest = hashlib.sha256(content).hexdigest()
        self.script: deque[Callable[[_Handler], None]] = deque()
        self.ranges: list[str | None] = []
        self.if_ranges: list[str | None] = []
        self.sent: list[int] = []
        self.closing = threading.Event()

    def weights(self, name: str | None = None, **known) -> Weights:
        name = name or f"tiny-{self.digest[:8]}.pth"
        url = f"http://127.0.0.1:{self.server_port}/models/{name}"
        return Weights(url, transforms=dict, meta={}, **known)

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is part of the game


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[Loopback]:
    with Loopback(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: Loopback

    def do_GET(self):
        if len(self.server.sent) >= MOST_REQUESTS:
            return self.send_error(410)
        self.server.ranges.append(self.headers.get("Range"))
        self.server.if_ranges.append(self.headers.get("If-Range"))
        self.server.sent.append(0)
        self.number = len(self.server.sent) - 1
        step = self.server.script.popleft() if self.server.script else fine
        step(self)

    def log_message(self, *args):
        pass

    def start(self, *, ranges: bool = True, length: bool = True) -> bytes:
        """Sends the headers of a good answer and gives the body that belongs to them."""
        content = self.server.content
        asked = self.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and ranges else 0
        etag = f'"{self.server.digest[:16]}"'
        if self.headers.get("If-Range") not in (None, etag):
            begin = 0
        if begin >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if length:
            self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", etag)
        self.end_headers()
        return content[begin:]

    def write(self, body: bytes):
        # Counted first: a test may look as soon as the client has the last byte.
        self.server.sent[self.number] += len(body)
        self.wfile.write(body)


def fine(handler):
    handler.write(handler.start())


def status(code, **headers):
    """An answer without the file."""

    def step(handler):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return step


def cut(count, *, ranges=True, length=True):
    """The connection ends after `count` bytes."""
    return lambda handler: handler.write(handler.start(ranges=ranges, length=length)[:count])


def without_ranges(handler):
    handler.write(handler.start(ranges=False))


def flipped(handler):
    """One wrong bit at the end of the body."""
    body = bytearray(handler.start())
    if body:
        body[-1] ^= 1
    handler.write(bytes(body))


def login_page(handler):
    """What a hotel's network answers to everything."""
    page = b"<html>please pay</html>"
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(page)))
    handler.end_headers()
    handler.write(page)


def wrong_part(handler):
    """An answer that claims to begin one byte later than was asked."""
    handler.send_response(206)
    handler.send_header(
        "Content-Range", f"bytes 1-{len(handler.server.content) - 1}/{len(handler.server.content)}"
    )
    handler.end_headers()
    handler.write(handler.server.content[1:])


def not_http(handler):
    handler.wfile.write(b"\x00\x01 this is another protocol\r\n\r\n")


def stall(count):
    """Silence after `count` bytes, until the client hangs up or the server closes."""

    def step(handler):
        handler.write(handler.start()[:count])
        handler.server.closing.wait(5)

    return step


def drip(pieces, pause):
    """The body in `pieces` pieces with a pause of so many seconds before each."""

    def step(handler):
        body = handler.start()
        edge = -(-len(body) // pieces)
        for begin in range(0, len(body), edge):
            if handler.server.closing.wait(pause):
                return
            handler.write(body[begin : begin + edge])

    return step


def get(server, folder, **settings):
    settings = {"progress": False, "cache_dir": folder, **settings}
    return fetch(server.weights(), **settings)


def final(server, folder) -> Path:
    return folder / server.weights().file_name


def part(server, folder, content: bytes) -> Path:
    """Leaves a partial file, as a killed process does."""
    folder.mkdir(exist_ok=True)
    path = folder / (server.weights().file_name + ".part")
    path.write_bytes(content)
    return path


def files(folder) -> set[str]:
    return {path.suffix for path in folder.iterdir()}
