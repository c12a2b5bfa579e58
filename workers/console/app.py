"""The console as a Starlette application: the routes of each of its parts, put together.

Everything is for whoever has signed in (`auth.py`), but what stands under "open". POST needs the form's
`csrf` (or the header `X-CSRF`), forms are urlencoded, and `Accept: application/json` gets JSON, no page.

    pages    GET /                      region.html or center.html {doc, turns, found, audit, own}
             GET /region/{code}         center: center_region.html {doc, region, code}
             GET /dead[?lane=|region=]  dead.html {found, lane, region}
             GET /dead/{id}             dead_one.html {one, id}
             GET /search, POST {q}      search.html {found, asked, wrong}: a NIK is in no URL, nor shown again
             GET /packet/{id}           search.html of that id
             GET /audit[?what=]         audit.html {found, what}
             GET /login, POST {name, password | token, next}     signin.html
             POST /logout
             message.html {status, title, sentence, back, failed}: errors, and acts that failed in part
    JSON     GET /api/depth[?region=]   the newest document, and `headline` {id, en}
             GET /api/history?hours=1|6|24|840[&names=a,b][&region=]
                                        {from_ms, to_ms, step_s, names: {name: [number|null]}}
             GET /api/turns?hours=24    {turns: [{at_ms, what, detail}]}
             GET /api/dead[/{id}], /api/audit[?what=&limit=]            documents of the commands
             POST /api/trace {q}        the document of `trace`
    events   GET /events                `depth`: as /api/depth, at most each 2 s
    acts     POST /act/pause {lane, reason}, resume {lane}, cap {rate, lane, hours, reason}, retry {id...},
             drop {id..., reason, sure=yes}, notice-end {n, reason}, notice {what, text_id, text_en, template,
             from, until, days, reason}, equipment {name, state=ok|broken, until, reason};
             center: hold {region, window, seconds, reason}, release {region};
             then 303 to `back` with ?done=ACT&count=N, or {count, failed}. Only for operators.
    open     /static/NAME?v=HASH, /healthz, /readyz, the public notice; /metrics as `auth.may_read` says

Every page is handed: side, place, who {name, role, operator}, csrf, path, asset(NAME), version, now_ms,
zone_min, lanes, done {what, count}; language from ?lang=, a cookie, Accept-Language.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import TitianError
from schemas.errors import SchemaError
from workers.console import acts_routes, metrics_routes, notice_acts, notice_routes
from workers.console.answers import Answers
from workers.console.api import Api
from workers.console.auth import Access
from workers.console.documents import Documents
from workers.console.events import Events
from workers.console.guard import Guard
from workers.console.headers import Headers
from workers.console.pages import Pages
from workers.console.side import Side
from workers.console.signing import Signing
from workers.logs import log

#: Answers larger than this are compressed, bytes; events are not.
GZIP_BYTES_MIN = 1_024


def make_app(side: Side, access: Access | None = None) -> Starlette:
    """The application of that side."""
    answers, documents, access = Answers(side), Documents(side), access or Access(side.folder)
    if access.shut() == "open_without_user":
        log("console").warning(
            "nobody can sign in: others can reach console.listen, and there is no user",
            do="titian console users add NAME",
        )
    routes = [
        *Pages(answers, documents).routes(),
        *Signing(answers, access).routes(),
        *Api(documents).routes(),
        *Events(side, access).routes(),
        *acts_routes.routes(answers),
        *notice_acts.routes(answers),
        *answers.assets.routes(),
        *metrics_routes.routes(side),
        *notice_routes.routes(side),
    ]

    def error(request: Request, why: Exception) -> Response:
        return answers.error(request, why)

    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Headers),
            Middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=6),
            Middleware(Guard, access=access, answers=answers),
        ],
        exception_handlers={TitianError: error, SchemaError: error, HTTPException: error},
    )
