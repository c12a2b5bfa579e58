"""The console's scripts and styles: read once, named by their content, so that a browser keeps them."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

FOLDER = Path(__file__).with_name("static")
_FOREVER = "public, max-age=31536000, immutable"
_BRIEFLY = "no-cache"


class _Asset(NamedTuple):
    data: bytes
    kind: str
    mark: str


class Assets:
    """All files of the folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        files = sorted(path for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
        self._found = {path.name: _asset(path) for path in files}

    def url(self, name: str) -> str:
        """Where that one is served."""
        found = self._found.get(name)
        return f"/static/{name}" + (f"?v={found.mark}" if found else "")

    def routes(self) -> list[BaseRoute]:
        """The one that serves them."""
        return [Route("/static/{name}", self._serve)]

    def _serve(self, request: Request) -> Response:
        found = self._found.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "there is no such file")
        tag = f'"{found.mark}"'
        named = request.query_params.get("v") == found.mark
        headers = {"cache-control": _FOREVER if named else _BRIEFLY, "etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(found.data, media_type=found.kind, headers=headers)


def _asset(path: Path) -> _Asset:
    data = path.read_bytes()
    kind = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}.get(path.suffix)
    guessed = kind or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _Asset(data, guessed, hashlib.sha256(data).hexdigest()[:12])
