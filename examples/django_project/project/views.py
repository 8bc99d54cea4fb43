import json

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from swaig_wsgi import FunctionResult, tool_url

from .agent import sessions, settings

OPENING_HOURS = {"monday": "9 to 5", "saturday": "10 to 2"}


def home(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(format_html("<h1>Home</h1><p>Visit {}</p>", request.session["visits"]))


def stream(request: HttpRequest) -> StreamingHttpResponse:
    rows = (f"row {number}\n" for number in range(1000))
    return StreamingHttpResponse(rows, content_type="text/plain")


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return HttpResponse(format_html("<p>Hello {}</p>", request.POST["name"]))
    page = '<form method="post"><input name="name"><input name="csrfmiddlewaretoken" value="{}">'
    return HttpResponse(format_html(page, get_token(request)))


@csrf_exempt
@require_POST
def upload(request: HttpRequest) -> JsonResponse:
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "bytes": len(file.read())})


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("this view is broken")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse("<h1>Error 404</h1>", status=404)


@csrf_exempt
@require_POST
def swml(request: HttpRequest) -> JsonResponse:
    """Return the SWML document, with the URL of this call's tool."""
    token = sessions.generate_token("opening_hours", json.loads(request.body)["call_id"])
    url = request.build_absolute_uri(reverse("swaig"))
    tool = {
        "function": "opening_hours",
        "description": "Say when the shop is open",
        "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
        # The platform calls this URL and sends no other credentials.
        "web_hook_url": tool_url(url, token, settings.basic_auth),
    }
    ai = {"prompt": {"text": "You answer for a shop."}, "SWAIG": {"functions": [tool]}}
    document = {"version": "1.0.0", "sections": {"main": [{"answer": {}}, {"ai": ai}]}}
    return JsonResponse(document)


@csrf_exempt
@require_POST
def swaig(request: HttpRequest) -> JsonResponse:
    """Handle a tool call; the middleware has verified its token for this call and function."""
    day = str(json.loads(request.body)["argument"]["parsed"][0].get("day", "")).lower()
    result = FunctionResult(f"We are open {OPENING_HOURS.get(day, 'never')}.")
    return JsonResponse(result.to_dict())
