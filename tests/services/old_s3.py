"""A server that speaks as much S3 as records need, and as badly as it is told to: some real ones do as badly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

Refusal = tuple[int, str, str]
"""Status, code, and the XML beside it."""


class OldS3(ThreadingHTTPServer):
    """Objects in a dictionary.

    conditions  `ignored`, `unknown` (501), or `lost`: carried out, but the answer never comes at the first time
    refusal     the answer to everything, if set
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.objects: dict[str, bytes] = {}
        self.conditions = "ignored"
        self.refusal: Refusal | None = None
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OldS3

    def do_GET(self) -> None:
        self._note()
        content = self.server.objects.get(self._key)
        if self.server.refusal:
            self._refuse(*self.server.refusal)
        elif "list-type" in self.path:
            self._answer(200, self._listing().encode())
        elif content is None:
            self._refuse(404, "NoSuchKey", "")
        else:
            self._answer(200, content)

    do_HEAD = do_GET  # noqa: N815 - the library's own word

    def do_PUT(self) -> None:
        self._note()
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = self.headers.get("If-None-Match") == "*"
        if self.server.refusal:
            self._refuse(*self.server.refusal)
        elif conditional and self.server.conditions == "unknown":
            self._refuse(501, "NotImplemented", "")
        elif conditional and self.server.conditions == "lost" and self._key in self.server.objects:
            self._refuse(412, "PreconditionFailed", "")
        else:
            self.server.objects[self._key] = content
            if conditional and self.server.conditions == "lost":
                self.close_connection = True
                return
            self._answer(200, b"")

    def do_DELETE(self) -> None:
        self._note()
        self.server.objects.pop(self._key, None)
        self._answer(204, b"")

    def log_message(self, *_: object) -> None:  # type: ignore[override]
        pass

    def _listing(self) -> str:
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        keys = [key.split("/", 2)[2] for key in sorted(self.server.objects)]
        found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys if key.startswith(prefix))
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"

    do_POST = do_PUT  # noqa: N815

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path)

    def _note(self) -> None:
        self.server.asked.append(f"{self.command} {self._key}")

    def _refuse(self, status: int, code: str, more: str) -> None:
        xml = f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>"
        self._answer(status, xml.encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def old_s3() -> Iterator[OldS3]:
    with OldS3() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
