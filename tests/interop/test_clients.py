"""The URLs of a document, called by HTTP clients that encode credentials as Latin-1."""

import asyncio
from urllib.parse import urlsplit

import aiohttp
import pytest
import requests

BODY = {"function": "transfer_funds", "argument": {"parsed": [{"amount": 5, "toAccount": "A"}]}}


def by_requests(url, body):
    response = requests.post(url, json=body, timeout=60)
    return response.status_code, response.json()


def by_aiohttp(url, body):
    async def post():
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return response.status, await response.json()

    return asyncio.run(post())


@pytest.mark.parametrize("post", [by_requests, by_aiohttp])
def test_a_password_with_umlauts_works_in_the_urls_of_a_document(gunicorn, post):
    server = gunicorn(
        "swaig_wsgi.examples.basic:app",
        SWML_BASIC_AUTH_PASSWORD="pässwörd",
        SIGNALWIRE_SWAIG_SECRET="a secret of some length",
    )
    base = f"http://demo:p%C3%A4ssw%C3%B6rd@127.0.0.1:{server.port}"
    status, document = post(base, {"call_id": "call-1"})
    assert status == 200
    functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = next(each["web_hook_url"] for each in functions if each["function"] == "transfer_funds")
    assert urlsplit(url).password == "p%C3%A4ssw%C3%B6rd"
    assert post(url, {**BODY, "call_id": "call-1"}) == (200, {"response": "Transfer completed."})
    wrong = base.replace("%C3%B6", "%C3%BC")
    assert post(wrong, {})[0] == 401
