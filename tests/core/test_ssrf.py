from __future__ import annotations

import inspect
import ipaddress
import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaig_wsgi.core.ssrf import UrlError, is_private_address, validate_url

# -- private addresses

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1
127.255.255.254 169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192
192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7
203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::7f00:1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:8.8.8.8
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8
64:ff9b:1::1 64:ff9b:1:ffff::127.0.0.1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2
2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::1 2002:a00:1:: 2002:808:808::1 3ffe::1
3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 febf::1 fec0::1 feff::1
ff02::1 ff0e::1 0:0:0:0:0:0:0:1 0000:0000:0000:0000:0000:0000:0000:0001 ::FFFF:127.0.0.1
""".split()  # noqa: SIM905

PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
198.17.255.255 198.20.0.0 223.255.255.255 93.184.216.34 168.63.129.17
2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450:4001:81b::200e 2001:200::1 2000::1 2003::1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert is_private_address(address) is True
    assert is_private_address(ipaddress.ip_address(address)) is True


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_private_address(address) is False
    assert is_private_address(ipaddress.ip_address(address)) is False


@pytest.mark.parametrize(
    "spelling",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "017700000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "127.0.0x1",
        "00000177.0.0.01",
        "10.1",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "0xa9.0376.0xa9fe",
        "0",
        "0x0",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "::1%lo",
    ],
)
def test_private_in_every_spelling(spelling: str) -> None:
    assert is_private_address(spelling) is True


@pytest.mark.parametrize(
    "spelling", ["8.8.2056", "8.526344", "134744072", "0x08080808", "0x8.8.8.8"]
)
def test_public_in_other_spellings(spelling: str) -> None:
    assert is_private_address(spelling) is False


@pytest.mark.parametrize("spelling", ["010.8.8.8", "012.0.0.1", "0300.0250.0.1", "0127.0.0.1"])
def test_private_if_either_reading_of_a_leading_zero_is(spelling: str) -> None:
    assert is_private_address(spelling) is True


def test_a_leading_zero_that_is_public_both_ways_is_public() -> None:
    assert is_private_address("08.8.8.8") is False
    assert is_private_address("8.8.8.010") is False


@pytest.mark.parametrize(
    "junk",
    [
        "",
        " ",
        "example.com",
        "localhost",
        "8.8.8.8 ",
        " 8.8.8.8",
        "8.8.8.8\n",
        "8.8.8.8.8",
        "8.8.8.256",
        "8.8..8",
        "8.8.8.",
        ".8.8.8",
        "256.8.8.8",
        "4294967296",
        "0x108080808",
        "0x",
        "0xg",
        "-1",
        "+8.8.8.8",
        "8_8.8.8.8",
        "8.8.65536",
        "①②⑦.0.0.1",
        "８.8.8.8",
        "٨.8.8.8",
        "8。8。8。8",
        "0" * 40 + "8.8.8.8",
        "[2606:4700:4700::1111]",
        "2606:4700:4700:::1111",
        ":",
        "\ud800",
        "8.8.8.8\x00",
        None,
        8,
        b"8.8.8.8",
    ],
)
def test_anything_but_an_address_is_private(junk: object) -> None:
    assert is_private_address(junk) is True  # type: ignore[arg-type]


@given(st.ip_addresses())
def test_every_address_that_python_calls_not_global_is_private(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert is_private_address(address)
    assert is_private_address(str(address)) is is_private_address(address)


@given(st.ip_addresses(v=4))
def test_every_embedding_of_an_ipv4_address_is_private(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        assert is_private_address(
            ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number)
        )
    assert is_private_address(ipaddress.IPv6Address((0x2002 << 112) + (number << 80)))


def _parts(number: int, count: int) -> list[int]:
    leading = [number >> shift & 255 for shift in (24, 16, 8)][: count - 1]
    return [*leading, number & (1 << 8 * (5 - count)) - 1]


@given(
    st.ip_addresses(v=4),
    st.integers(1, 4),
    st.lists(st.sampled_from(["{:d}", "{:#x}", "0x{:08X}"]), min_size=4, max_size=4),
)
def test_spelling_does_not_matter(
    address: ipaddress.IPv4Address, count: int, formats: list[str]
) -> None:
    parts = _parts(int(address), count)
    text = ".".join(form.format(part) for form, part in zip(formats, parts))
    assert is_private_address(text) is is_private_address(address)


@given(st.ip_addresses(v=4), st.integers(1, 4))
def test_octal_spelling_hides_nothing(address: ipaddress.IPv4Address, count: int) -> None:
    text = ".".join(f"0{part:o}" for part in _parts(int(address), count))
    assert is_private_address(text) or not is_private_address(address)


@given(st.text())
def test_any_text_is_classified(text: str) -> None:
    assert is_private_address(text) in (True, False)


# -- URLs that clients chose


def resolving_to(*addresses: str):
    def resolver(host, port, family=0, type=0, proto=0, flags=0):
        resolver.asked.append((host, port))
        return [
            (socket.AF_INET6, 1, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, 1, 6, "", (address, port))
            for address in addresses
        ]

    resolver.asked = []  # type: ignore[attr-defined]
    return resolver


def test_all_addresses_are_returned_once_each() -> None:
    resolver = resolving_to("93.184.216.34", "2606:4700:4700::1111", "93.184.216.34")
    checked = validate_url("https://Example.COM./x?y#z", resolver=resolver)
    assert checked.addresses == ("93.184.216.34", "2606:4700:4700::1111")
    assert checked.url == "https://Example.COM./x?y#z"
    assert (checked.scheme, checked.host, checked.port) == ("https", "example.com", 443)
    assert resolver.asked == [("example.com", 443)]


def test_the_port_of_the_url_is_the_port() -> None:
    resolver = resolving_to("8.8.8.8")
    assert validate_url("http://example.com:8080/", resolver=resolver).port == 8080
    assert validate_url("http://example.com", resolver=resolver).port == 80


@pytest.mark.parametrize("address", [*PRIVATE, "fe80::1%eth0", "junk"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_private_address_among_many_is_rejected(address: str, position: int) -> None:
    addresses = ["8.8.8.8", "2606:4700:4700::1111"]
    addresses.insert(position, address)
    with pytest.raises(UrlError) as caught:
        validate_url("https://rebind.example/", resolver=resolving_to(*addresses))
    assert caught.value.reason == "private_address"


def never(*args: object) -> list[object]:
    raise AssertionError("resolver called")


def test_an_address_is_not_looked_up() -> None:
    assert validate_url("https://8.8.8.8/", resolver=never).addresses == ("8.8.8.8",)
    checked = validate_url("https://[2606:4700:4700::1111]:8443/", resolver=never)
    assert checked.addresses == ("2606:4700:4700::1111",)
    assert (checked.host, checked.port) == ("2606:4700:4700::1111", 8443)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_in_the_url_are_rejected(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(UrlError) as caught:
        validate_url(f"https://{host}/", resolver=never)
    assert caught.value.reason == "private_address"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "malformed"),
        ("example.com", "malformed"),
        ("//example.com/", "malformed"),
        ("https:example.com", "malformed"),
        ("https:/example.com", "malformed"),
        ("https:\\\\example.com", "malformed"),
        ("https://example.com\\@127.0.0.1/", "malformed"),
        ("https://example.com/\\x", "malformed"),
        (" https://example.com", "malformed"),
        ("https://example.com ", "malformed"),
        ("https://exa\tmple.com", "malformed"),
        ("https://example.com/\r\nHost: x", "malformed"),
        ("https://example.com/\x00", "malformed"),
        ("https://example.com/\x7f", "malformed"),
        ("https://①②⑦.0.0.1/", "malformed"),
        ("https://１27.0.0.1/", "malformed"),
        ("https://ⓔxample.com/", "malformed"),
        ("https://127。0。0。1/", "malformed"),
        ("https://example.com/ä", "malformed"),
        ("ftp://example.com/", "bad_scheme"),
        ("file:///etc/passwd", "bad_scheme"),
        ("gopher://127.0.0.1:6379/_x", "bad_scheme"),
        ("https+x://example.com/", "bad_scheme"),
        ("https://user:hunter2@example.com/", "has_credentials"),
        ("https://example.com@127.0.0.1/", "has_credentials"),
        ("https://127.0.0.1:80@example.com/", "has_credentials"),
        ("https://@example.com/", "has_credentials"),
        ("https:///x", "bad_host"),
        ("https://?x", "bad_host"),
        ("https://#x", "bad_host"),
        ("https://:80/", "bad_host"),
        ("https://./", "bad_host"),
        ("https://example..com/", "bad_host"),
        ("https://example.com../", "bad_host"),
        ("https://exa%6dple.com/", "bad_host"),
        ("https://127.0.0.1%00.example.com/", "bad_host"),
        ("https://127.1/", "bad_host"),
        ("https://0x7f000001/", "bad_host"),
        ("https://0x7f.0.0.1/", "bad_host"),
        ("https://0177.0.0.1/", "bad_host"),
        ("https://017700000001/", "bad_host"),
        ("https://2130706433/", "bad_host"),
        ("https://134744072/", "bad_host"),
        ("https://127.0.0.1../", "bad_host"),
        ("https://127.0.0.01/", "bad_host"),
        ("https://example.com.0x7f/", "bad_host"),
        ("https://1.2.3.4.5/", "bad_host"),
        ("https://[fe80::1%25eth0]/", "bad_host"),
        ("https://[fe80::1%eth0]/", "bad_host"),
        ("https://[::1/", "bad_host"),
        ("https://[::1]x/", "bad_host"),
        ("https://[127.0.0.1]/", "bad_host"),
        ("https://[v1.x]/", "bad_host"),
        ("https://::1/", "bad_host"),
        ("https://example.com:0/", "bad_host"),
        ("https://example.com:65536/", "bad_host"),
        ("https://example.com:99999999999/", "bad_host"),
        ("https://example.com:-1/", "bad_host"),
        ("https://example.com:8_0/", "bad_host"),
        ("https://example.com:80:80/", "bad_host"),
        ("https://example.com,127.0.0.1/", "bad_host"),
        ("https://example.com;127.0.0.1/", "bad_host"),
        ("https://127.0.0.1#@evil.example/", "private_address"),
        ("https://127.0.0.1?@evil.example/", "private_address"),
        ("https://127.0.0.1/@evil.example/", "private_address"),
        ("https://127.0.0.1./", "private_address"),
        ("https://[::ffff:127.0.0.1]/", "private_address"),
        ("https://[0:0:0:0:0:0:0:1]/", "private_address"),
        ("https://[::]/", "private_address"),
    ],
)
def test_url_tricks(url: str, reason: str) -> None:
    with pytest.raises(UrlError) as caught:
        validate_url(url, resolver=never)
    assert caught.value.reason == reason
    assert "hunter2" not in str(caught.value)


def test_private_addresses_where_they_are_allowed() -> None:
    checked = validate_url("http://127.0.0.1:8000/", resolver=never, allow_private=True)
    assert checked.addresses == ("127.0.0.1",)
    resolver = resolving_to("10.0.0.1", "8.8.8.8")
    checked = validate_url("http://internal/", resolver=resolver, allow_private=True)
    assert checked.addresses == ("10.0.0.1", "8.8.8.8")


def test_allowing_private_addresses_allows_nothing_else() -> None:
    for url in ("http://127.1/", "http://u@127.0.0.1/", "http://[::1%25lo]/", "file://127.0.0.1/"):
        with pytest.raises(UrlError):
            validate_url(url, resolver=never, allow_private=True)


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), OSError(), UnicodeError("idna")])
def test_a_name_is_rejected_if_the_resolver_fails(error: Exception) -> None:
    def resolver(*args: object) -> list[object]:
        raise error

    with pytest.raises(UrlError) as caught:
        validate_url("https://nowhere.example/", resolver=resolver)
    assert caught.value.reason == "unresolvable"


def test_a_name_without_addresses_is_rejected() -> None:
    with pytest.raises(UrlError) as caught:
        validate_url("https://nowhere.example/", resolver=resolving_to())
    assert caught.value.reason == "unresolvable"


def test_the_real_resolver_is_the_default() -> None:
    default = inspect.signature(validate_url).parameters["resolver"].default
    assert default is socket.getaddrinfo


def test_schemes_can_be_narrowed() -> None:
    with pytest.raises(UrlError) as caught:
        validate_url("http://8.8.8.8/", resolver=never, schemes=("https",))
    assert caught.value.reason == "bad_scheme"
    assert validate_url("https://8.8.8.8/", resolver=never, schemes=["https"]).port == 443


@pytest.mark.parametrize("schemes", [(), ("ftp",), ("https", "ftp"), "https"])
def test_other_schemes_are_a_programming_error(schemes: object) -> None:
    with pytest.raises(ValueError, match="schemes"):
        validate_url("https://8.8.8.8/", resolver=never, schemes=schemes)  # type: ignore[arg-type]


def test_a_url_must_be_text() -> None:
    with pytest.raises(UrlError):
        validate_url(b"https://8.8.8.8/", resolver=never)  # type: ignore[arg-type]


@given(st.text() | st.from_regex(r"\Ahttps?://[ -~]{0,40}\Z"))
def test_no_url_passes_with_a_private_address(url: str) -> None:
    resolver = resolving_to("93.184.216.34")
    try:
        checked = validate_url(url, resolver=resolver)
    except UrlError:
        return
    assert checked.addresses
    assert not any(map(is_private_address, checked.addresses))
    # Another parser must find the same host, or a request would go elsewhere.
    parts = urlsplit(url)
    assert (parts.hostname or "").rstrip(".") == checked.host or ":" in checked.host
    assert (parts.port or {"http": 80, "https": 443}[checked.scheme]) == checked.port
    assert parts.username is None


@pytest.mark.parametrize(
    "address", ["2001:4860::5efe:7f00:1", "2001:4860::200:5efe:a00:1", "2600::5efe:8.8.8.8"]
)
def test_isatap_addresses_are_private(address):
    assert is_private_address(address)
    assert not is_private_address("2001:4860:4860::8888")
