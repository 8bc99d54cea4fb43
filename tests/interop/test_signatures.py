"""Webhook signatures of the package ``twilio``."""

from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from swaig_wsgi.core.signatures import verify_request

KEY = "PSKtest1234567890abcdef"
FORM = "application/x-www-form-urlencoded"


class Parameters(dict):
    """Parameters as the package takes them from a framework."""

    def getlist(self, name):
        return self[name]


@pytest.mark.parametrize("url", ["https://h.example", "https://h.example/x?a=1&b=%2F"])
@pytest.mark.parametrize(
    "parameters",
    [
        {"b": ["2"], "a": ["1"]},
        {"a": ["2", "1", "2"], "b": ["x y", "é"]},
        {"Digits": ["10", "9", "9"], "To": ["+15551234567"], "Z": [""]},
    ],
)
def test_forms_signed_by_twilio_are_valid(url, parameters):
    signature = RequestValidator(KEY).compute_signature(url, Parameters(parameters))
    body = urlencode(parameters, doseq=True).encode()
    received = "https://h.example/" if url == "https://h.example" else url
    options = {"sha1_alias_signature": signature, "content_type": FORM}
    assert verify_request(KEY, received, body, **options)
    assert not verify_request(KEY, received, body + b"&a=4", **options)
