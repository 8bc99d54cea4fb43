"""An existing Flask site: sessions, a streamed view, an upload, error pages."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response, abort, render_template_string, request, session
from werkzeug.exceptions import HTTPException

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_SECRET_KEY, for sessions

PAGE = "<!doctype html><title>{{ title }}</title><h1>{{ title }}</h1><p>{{ text }}</p>"


@app.get("/")
def home() -> str:
    session["visits"] = session.get("visits", 0) + 1
    return render_template_string(PAGE, title="Home", text=f"Visit {session['visits']}")


@app.get("/stream")
def stream() -> Response:
    def rows() -> Iterator[str]:
        for number in range(1000):
            yield f"row {number}\n"

    return Response(rows(), mimetype="text/plain")


@app.post("/upload")
def upload() -> dict[str, object]:
    file = request.files["file"]
    return {"name": file.filename, "bytes": len(file.read())}


@app.get("/broken")
def broken() -> str:
    raise RuntimeError("this view is broken")


@app.get("/teapot")
def teapot() -> str:
    abort(418)


@app.errorhandler(HTTPException)
def error_page(error: HTTPException) -> tuple[str, int]:
    page = render_template_string(PAGE, title=f"Error {error.code}", text="Something went wrong.")
    return page, error.code or 500
