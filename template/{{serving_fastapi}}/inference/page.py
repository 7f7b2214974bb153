"""The page at `/`: try the model in a browser. What it is made of lies in `page/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request, Response

from .errors import ServiceError

FOLDER = Path(__file__).with_name("page")
FORM = "<!-- form.html -->"
"""Where `index.html` holds the task's own part."""
STYLE = "style.css"

# Nothing from elsewhere, and nothing inline: what a model says can never become code.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked for again: a new version shows at once
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Named here: the standard library asks the machine, and some machines call a script plain text.
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class File:
    """One file of the page, as it goes over the wire."""

    content: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Changes with the content."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and its files below `/page/`; it needs no API key, its calls do."""
    files = read_files(FOLDER)
    index = files.pop("index.html")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return _answer(request, index)

    @app.api_route("/page/{name}", methods=["GET", "HEAD"], include_in_schema=False)
    async def page_file(request: Request, name: str) -> Response:
        if name not in files:  # a name among these, so never a path to another folder
            raise ServiceError(404, "not_found", "The page has no such file.")
        return _answer(request, files[name])


def read_files(folder: Path) -> dict[str, File]:
    """Read the folder once: the task's form goes into the page, and all styles into one file."""
    contents = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in MEDIA_TYPES
    }
    form = contents.pop("form.html")
    contents["index.html"] = contents["index.html"].replace(FORM.encode(), form)
    styles = [contents.pop(name) for name in sorted(contents) if name.endswith(".css")]
    contents[STYLE] = b"\n".join(styles)
    return {
        name: File(content, MEDIA_TYPES[Path(name).suffix]) for name, content in contents.items()
    }


def _answer(request: Request, file: File) -> Response:
    headers = {**HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
