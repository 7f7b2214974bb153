"""A package index on this machine which serves one small package, well or badly.

It speaks the simple repository API. `fault` says how it misbehaves; it may be changed while the
server runs, as an index is mended.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, VERSION = "tinypackage", "1.0"
PIN = f"{NAME}=={VERSION}\n"


def wheel(requires: str = "", version: str = VERSION) -> bytes:
    """Return a wheel with one empty module."""
    info = f"{NAME}-{version}.dist-info"
    files = {
        f"{NAME}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # the same bytes at any time
    return made.getvalue()


def source_that_fails_to_build() -> bytes:
    """Return a source distribution whose build stops with an error of its own."""
    backend = b"raise RuntimeError('no compiler here')\n"
    project = b'[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": project, "back.py": backend, "PKG-INFO": b"Name: tinypackage\n"}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{NAME}-{VERSION}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(made.getvalue(), mtime=0)


class PackageIndex:
    """Runs while it is entered; `url` is what pip and uv are told."""

    def __init__(self) -> None:
        self.fault = ""
        self._over = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                index.answer(self)

            do_HEAD = do_GET  # noqa: N815
            do_CONNECT = do_GET  # noqa: N815 (as a proxy)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.proxy = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.proxy}/simple"

    def __enter__(self) -> PackageIndex:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request as the fault has it."""
        fault, path = self.fault, request.path
        if fault.isdigit():
            return self._send(request, int(fault), b"no\n")
        if fault == "stalls":
            self._over.wait(60)
            return None
        if fault == "hangs up":
            request.close_connection = True
            return None
        if fault == "portal":
            return self._send(request, 200, b"<html><body><h1>Please sign in</h1></body></html>")
        name, content = self._file()
        if path.rstrip("/").endswith(NAME):
            digest = hashlib.sha256(b"another file" if fault == "wrong hash" else content)
            attributes = {
                "yanked": ' data-yanked="it leaked"',
                "another Python": ' data-requires-python="&gt;=3.99"',
            }.get(fault, "")
            link = f'<a href="/files/{name}#sha256={digest.hexdigest()}"{attributes}>{name}</a>'
            return self._send(request, 200, f"<html><body>{link}</body></html>".encode())
        if path.startswith("/files/"):
            if fault == "cut short":
                return self._send_half(request, content)
            return self._send(request, 200, content)
        return self._send(request, 404, b"no such page\n")

    def _file(self) -> tuple[str, bytes]:
        tag = "cp311-cp311-win_arm64" if self.fault == "another system" else "py3-none-any"
        name = f"{NAME}-{VERSION}-{tag}.whl"
        if self.fault == "no zip":
            return name, base64.b64encode(wheel())
        if self.fault == "conflicts":
            return name, wheel(requires=f"Requires-Dist: {NAME}>=2\n")
        if self.fault == "misses another":
            return name, wheel(requires="Requires-Dist: nosuchpackage>=2\n")
        if self.fault == "misnamed":
            return name, wheel(version="3.0")
        if self.fault == "cannot be built":
            return f"{NAME}-{VERSION}.tar.gz", source_that_fails_to_build()
        if self.fault == "other version":
            return f"{NAME}-2.0-py3-none-any.whl", wheel(version="2.0")
        return name, wheel()

    def _send(self, request: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
        request.send_response(status)
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="index"')
        kind = "text/html" if content.startswith(b"<") else "application/octet-stream"
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _send_half(self, request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2])
        request.wfile.flush()
        request.close_connection = True
