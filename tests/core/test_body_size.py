from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.body_size import BodyError, body_length, check_max_bytes

LIMIT = 1_048_576


def refusal(*framing):
    with pytest.raises(BodyError) as caught:
        body_length(*framing)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_content_length_there_is_no_body_unless_the_server_ends_the_input(absent):
    assert body_length(absent, None, False, LIMIT) == 0


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_content_length_the_length_of_a_terminated_input_is_unknown(absent):
    # HTTP/2 has bodies that neither field announces.
    assert body_length(absent, None, True, LIMIT) is None


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize(
    ("text", "length"), [("0", 0), ("5", 5), ("0005", 5), ("1048576", LIMIT), ("0" * 100 + "7", 7)]
)
def test_a_declared_length_is_taken_literally(text, length, terminated):
    assert body_length(text, None, terminated, LIMIT) == length


def test_a_length_of_many_zeros_is_zero():
    assert body_length("0" * 50, None, True, 0) == 0


def test_numbers_of_more_than_18_digits_are_not_converted():
    """They exceed any limit, a configured one of exabytes included."""
    for digits in ("9" * 18, f"0{'9' * 18}"):
        assert body_length(digits, None, True, 10**30) == 10**18 - 1
    assert body_length(f"{'0' * 20}10", None, True, 10**30) == 10
    assert refusal("1" + "0" * 18, None, True, 10**30) == (413, "too_large")


@pytest.mark.parametrize(
    "text",
    [
        "-1", "+5", "5, 5", "5,5", "5,6", " 5", "5 ", "\t5", "5\n", "5\x00", "1_0", "0x5", "5.0",
        "1e3", "five", " ", ",", "5;", "٥", "５", "²", "5\xa0", "--5", "NaN",
    ],
)  # fmt: skip
@pytest.mark.parametrize("terminated", [True, False])
def test_malformed_lengths_are_400(text, terminated):
    assert refusal(text, None, terminated, LIMIT) == (400, "malformed_length")


@pytest.mark.parametrize("text", ["1048577", "9" * 18, "9" * 19, "1" + "0" * 30, "9" * 5000])
def test_lengths_over_the_limit_are_413(text):
    assert refusal(text, None, True, LIMIT) == (413, "too_large")


def test_a_megabyte_of_digits_is_not_turned_into_a_number():
    # int() raises ValueError for so many, and in older Pythons takes seconds.
    assert refusal("9" * 1_000_000, None, True, LIMIT) == (413, "too_large")
    assert refusal("9" * 1_000_000 + "x", None, True, LIMIT) == (400, "malformed_length")


@pytest.mark.parametrize("length", ["0", "5", "5, 5", "nonsense", str(10**30)])
@pytest.mark.parametrize("terminated", [True, False])
def test_content_length_with_transfer_encoding_is_400(length, terminated):
    assert refusal(length, "chunked", terminated, LIMIT) == (400, "conflicting_framing")


@pytest.mark.parametrize("absent", [None, ""])
@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_chunked_is_read_to_the_end(absent, coding):
    assert body_length(absent, coding, True, LIMIT) is None


@pytest.mark.parametrize("terminated", [True, False])
@pytest.mark.parametrize(
    "coding",
    [
        "", " ", "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked",
        "chunked,", ",chunked", " chunked", "chunked ", "\x0bchunked", "xchunked", "chunked;q=1",
        "\u212aunked", "chun\u212aed",
    ],
)  # fmt: skip
def test_any_other_transfer_coding_is_400(coding, terminated):
    assert refusal(None, coding, terminated, LIMIT) == (400, "unsupported_coding")


def test_chunked_from_a_server_that_does_not_decode_it_is_411():
    assert refusal(None, "chunked", False, LIMIT) == (411, "length_required")


@given(st.none() | st.text(max_size=30), st.none() | st.text(max_size=12), st.booleans())
def test_any_fields_give_a_length_or_a_refusal(length, coding, terminated):
    try:
        result = body_length(length, coding, terminated, LIMIT)
    except BodyError as error:
        refused = (error.status, error.error, error.reason)
        assert refused in {
            (400, "Bad request: malformed Content-Length", "malformed_length"),
            (
                400,
                "Bad request: Content-Length together with Transfer-Encoding",
                "conflicting_framing",
            ),
            (400, "Bad request: unsupported Transfer-Encoding", "unsupported_coding"),
            (411, "Length required", "length_required"),
            (413, "Request too large", "too_large"),
        }
    else:
        assert result is None or 0 <= result <= LIMIT
        assert result is not None or terminated


@given(st.integers(min_value=0, max_value=10**40), st.integers(min_value=0, max_value=10**9))
def test_a_length_passes_exactly_when_it_is_within_the_limit(length, limit):
    if length <= limit:
        assert body_length(str(length), None, True, limit) == length
    else:
        assert refusal(str(length), None, True, limit) == (413, "too_large")


@given(st.text(st.characters(exclude_characters="0123456789"), min_size=1), st.text("0123456789"))
def test_one_character_that_is_no_digit_spoils_a_length(junk, digits):
    for text in (junk + digits, digits + junk, digits + junk + digits):
        assert refusal(text, None, True, LIMIT) == (400, "malformed_length")


@pytest.mark.parametrize("limit", [0, 1, 2**40])
def test_limits_that_make_sense(limit):
    assert check_max_bytes(limit) == limit


@pytest.mark.parametrize("limit", [-1, True, False, 1.5, "1024", None])
def test_other_limits_are_refused(limit):
    with pytest.raises(ValueError, match="max_bytes"):
        check_max_bytes(limit)
