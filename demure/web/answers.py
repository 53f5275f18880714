"""What `demure ui` answers: the page, the rows that its script asks for, pictures, audio and video."""

from __future__ import annotations

import gzip
import json
import mimetypes
import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demure.diagnosis.content_map import KINDS
from demure.web.card import draw_card
from demure.web.card_content import item_card, user_card
from demure.web.lookup import Lookup
from demure.web.shared_work import SharedWork

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_ANSWERS_KEPT = 2000  # recommendations of that many users, some 2 kB each
_EXPLANATIONS_KEPT = 200  # some 20 kB each
_SEARCHES_KEPT = 200  # some 20 kB each
_MAPS_KEPT = 20  # some 200 kB each
_MOST_CHARACTERS = 300  # of a search
_JSON = "application/json"
_NO_GZIP = re.compile(r"\s*(x-)?gzip\s*;\s*q\s*=\s*0(\.0*)?\s*", re.IGNORECASE)
_VARY = {"Vary": "Accept-Encoding"}


def build_app(lookup: Lookup, html: str, *, local_only: bool) -> ASGIApp:
    """Return the application that answers for one run; ``local_only``: only under a name of this machine for itself."""
    page = html.encode()
    packed = gzip.compress(page, mtime=0)  # once: it is 2 MB

    def home(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed, media_type="text/html", headers={"Content-Encoding": "gzip", **_VARY})
        return Response(page, media_type="text/html", headers=_VARY)

    def picture(request: Request) -> Response:
        content = lookup.picture(request.query_params.get("id", ""))
        if content is None:
            return Response(status_code=204)
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    def media(request: Request) -> Response:
        kind, name = (request.query_params.get(part, "") for part in ("kind", "id"))
        file = lookup.media(kind, name)
        if file is None:
            return Response(status_code=204)
        guessed = mimetypes.guess_type(file.name)[0] or ""
        is_media = guessed.split("/")[0] in ("audio", "video")  # nothing that a browser would show as a page
        # A player asks for ranges of bytes, which are those of the file as it is.
        headers = {"Content-Encoding": "identity", "Cache-Control": "max-age=3600"}
        return FileResponse(file, media_type=guessed if is_media else "application/octet-stream", headers=headers)

    def card(request: Request) -> Response:
        makers = {"user": user_card, "item": item_card}
        asked = [(makers[kind], name) for kind, name in request.query_params.multi_items() if kind in makers]
        if len(asked) == 1:
            make, name = asked[0]
            content = make(lookup, name)
            if content is not None:
                return Response(draw_card(content), media_type="image/png", headers={"Cache-Control": "max-age=3600"})
        return PlainTextResponse("there is no such user or item", 404)

    def rows(search: Callable[[str, str], Any], sort: str) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            query = request.query_params
            return _as_json(search(query.get("wanted", ""), query.get("sort", sort)))

        return answer

    def details(find: Callable[[str], Any]) -> Callable[[Request], Response]:
        return lambda request: _as_json(find(request.query_params.get("id", "")))

    def recommend(names: Sequence[str]) -> dict[str, bytes]:
        return {name: _encode(answer) for name, answer in lookup.recommended(names).items()}

    def compare(names: Sequence[str]) -> dict[str, bytes]:
        return {name: _encode(answer) for name, answer in lookup.compared(names).items()}

    def draw(names: Sequence[str]) -> dict[str, bytes]:
        return {name: _encode(lookup.mapped(*json.loads(name))) for name in names}

    def explain(names: Sequence[str]) -> dict[str, bytes]:
        return {name: _encode(lookup.explained(*json.loads(name))) for name in names}

    def search(names: Sequence[str]) -> dict[str, bytes]:
        return {name: _encode(lookup.searched(name)) for name in names}

    suggestions = SharedWork(recommend, keep=_ANSWERS_KEPT)
    comparisons = SharedWork(compare, keep=_ANSWERS_KEPT)
    explanations = SharedWork(explain, keep=_EXPLANATIONS_KEPT)
    maps = SharedWork(draw, keep=_MAPS_KEPT)
    searches = SharedWork(search, keep=_SEARCHES_KEPT)

    def of_user(work: SharedWork[bytes]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            user = request.query_params.get("id", "")
            if user not in lookup.table.user_code:  # nothing is kept for a name that anyone can make up
                return _as_json(None)
            return Response(await work.of(user), media_type=_JSON)

        return answer

    async def explained(request: Request) -> Response:
        user, item = (request.query_params.get(name, "") for name in ("user", "item"))
        if not lookup.has_choice(user, item):
            return _as_json(None)
        return Response(await explanations.of(json.dumps([user, item])), media_type=_JSON)

    async def mapped(request: Request) -> Response:
        kind, modality = (request.query_params.get(name, "") for name in ("kind", "modality"))
        if kind not in KINDS or modality not in lookup.table.modalities:
            return _as_json(None)
        return Response(await maps.of(json.dumps([kind, modality])), media_type=_JSON)

    async def searched(request: Request) -> Response:
        words = " ".join(request.query_params.get("words", "")[:_MOST_CHARACTERS].split())
        return Response(await searches.of(words), media_type=_JSON) if words else _as_json(None)

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/api/users", rows(lookup.users, "id")),
            Route("/api/items", rows(lookup.items, "choices")),
            Route("/api/user", details(lookup.user)),
            Route("/api/item", details(lookup.item)),
            Route("/api/recommended", of_user(suggestions)),
            Route("/api/compared", of_user(comparisons)),
            Route("/api/explain", explained),
            Route("/api/search", searched),
            Route("/api/map", mapped),
            Route("/picture", picture),
            Route("/media", media),
            Route("/card", card),
        ],
        middleware=[
            Middleware(_Gate, local_only=local_only),
            Middleware(GZipMiddleware),
        ],
    )
    app.router.redirect_slashes = False  # a redirection repeats the Host header
    return app


def _encode(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")


def _as_json(value: Any) -> Response:
    return Response(_encode(value), media_type=_JSON)


class _Gate:
    """Let only those requests pass that the page itself, or the user, makes; add the headers that every answer has."""

    def __init__(self, app: ASGIApp, local_only: bool) -> None:
        self._app, self._local_only = app, local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        if scope["type"] == "http" and _refuses_gzip(Headers(scope=scope)):  # starlette looks for the word alone
            headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            scope = {**scope, "headers": headers}
        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        # DNS rebinding: a foreign page whose name points to this machine must not read a server that is for it alone.
        if self._local_only and not is_loopback(_host(headers.get("host", ""))):
            return PlainTextResponse("this server answers this machine alone", 403)
        # A foreign page cannot read the answers, but can make the server work. Older browsers and other programs do
        # not send the header; a link to the page may stand anywhere.
        origin = headers.get("sec-fetch-site", "none")
        follows_link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if origin not in ("same-origin", "none") and not follows_link:
            return PlainTextResponse("this server answers its own page alone", 403)
        return None


def is_loopback(host: str) -> bool:
    """Return whether ``host``, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refuses_gzip(headers: Headers) -> bool:
    """Return whether the client says ``gzip;q=0``."""
    codings = ",".join(headers.getlist("accept-encoding")).split(",")
    return any(_NO_GZIP.fullmatch(coding) for coding in codings)


def _host(header: str) -> str:
    """Return the name in a Host header without its port; an empty name for a header that has none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
