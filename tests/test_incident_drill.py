"""An incident with two replicas behind nginx is explained by their log and metrics alone.

The script below makes it happen. Each question is decided by the lines of JSON that the replicas
wrote, read by functions that know nothing else; the metrics have to agree.
"""

from __future__ import annotations

import getpass
import http.client
import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from support.deployments import SECRET
from support.metrics import series_of
from support.nginx import NGINX
from support.ports import free_port
from support.waiting import PATIENCE, wait_until
from support.wsgi import Response, basic

NEW = ("platform", "the-new-password-of-june")
OLD = ("platform", "the-old-password-of-may")
WRONG = ("platform", "a-guess-of-a-stranger")
#: Clients of nginx, which passes on their addresses.
PLATFORM, LATE, GUESSING = "127.0.0.2", "127.0.0.9", "127.0.0.10"
REPLICAS = ("replica-1", "replica-2")

AGENT = """
import os
from swaig_wsgi import AgentApp

app = AgentApp("bank", route="/bank")
ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
"""

PROGRAM = (
    AGENT
    + """
@app.tool(secure=True, once=600)
def pay(amount: int) -> str:
    "Pay."
    os.write(ledger, b"%d\\n" % amount)
    return f"Paid {amount}."

@app.tool(secure=True)
def balance() -> str:
    "Return the balance."
    return "12"
"""
)

PROXY = """
user {user}; daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream agent {{ {servers} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://agent;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_next_upstream off;
            add_header X-Upstream $upstream_addr always;
        }}
    }}
}}
"""

# The reader


class RefusedCall(NamedTuple):
    time: datetime
    tool: str
    reason: str
    call_id: str
    replica: str
    request_id: str


class Reader:
    """What the lines of the log say."""

    def __init__(self, lines: list[str]) -> None:
        found = [json.loads(line) for line in lines if line.startswith("{")]
        self._records = sorted(found, key=lambda record: record["time"])

    def of(self, logger: str, **fields: str) -> list[dict[str, Any]]:
        return [
            record
            for record in self._records
            if record["logger"] == f"swaig_wsgi.{logger}"
            and all(record.get(name) == value for name, value in fields.items())
        ]

    def refused_calls(self) -> list[RefusedCall]:
        found = []
        for call in self.of("calls", event="tool_call", outcome="refused"):
            found.append(
                RefusedCall(
                    datetime.strptime(call["time"], "%Y-%m-%dT%H:%M:%S.%f%z"),
                    call["tool"],
                    call["reason"],
                    call["call_id"],
                    call["host"],
                    call["request_id"],
                )
            )
        return found

    def payments(self, call_id: str) -> dict[str, str]:
        """Return of each payment of a call: ``once``, ``twice``, ``no`` or ``ask``."""
        # The procedure of docs/events.md.
        outcomes: dict[str, list[str]] = {}
        ended = {call["request_id"] for call in self.of("calls", event="tool_call")}
        for start in self.of("calls.started", tool="pay", call_id=call_id):
            died = ["died"] if start["request_id"] not in ended else []
            outcomes.setdefault(start["once"], []).extend(died)
        for call in self.of("calls", event="tool_call", tool="pay", call_id=call_id):
            outcomes.setdefault(call.get("once", "-"), []).append(call["outcome"])
        return {
            key: "ask"
            if {"died", "failed"} & set(seen) or set(seen) == {"unknown"}
            else {0: "no", 1: "once", 2: "twice"}[seen.count("ran")]
            for key, seen in outcomes.items()
        }

    def users_of_the_old_password(self) -> set[tuple[str, str, str]]:
        return {
            (record["client"], record["user"], record["agent"])
            for record in self.of("security", event="fallback_credential", reason="password")
        }


# The incident


class Service:
    """Two replicas behind nginx, which share a Valkey."""

    def __init__(self, gunicorn: Any, directory: Path, valkey: Any) -> None:
        assert NGINX is not None
        (directory / "program.py").write_text(PROGRAM)
        self.ledger = directory / "ledger"
        common = {
            "LEDGER": str(self.ledger),
            "SWML_METRICS": "true",
            "PYTHONPATH": str(directory),
            "SIGNALWIRE_LOG_FORMAT": "json",
            "SIGNALWIRE_SWAIG_SECRET": SECRET,
            "SWML_BASIC_AUTH_USER": NEW[0],
            "SWML_BASIC_AUTH_PASSWORD": NEW[1],
            "SWML_BASIC_AUTH_PASSWORD_FALLBACKS": OLD[1],
            "SWML_STORAGE_URL": valkey.url,
            "SWML_TRUSTED_PROXIES": "127.0.0.1",
        }
        for name in REPLICAS:
            (directory / name).mkdir(mode=0o700)
        self.servers = {
            name: gunicorn(
                "program:app",
                *("-c", "python:swaig_wsgi.gunicorn", "-w2"),
                cwd=str(directory),
                HOSTNAME=name,
                PROMETHEUS_MULTIPROC_DIR=str(directory / name),
                **common,
            )
            for name in REPLICAS
        }
        self._port = free_port()
        addresses = (f"server 127.0.0.1:{each.port};" for each in self.servers.values())
        (directory / "nginx.conf").write_text(
            PROXY.format(user=getpass.getuser(), port=self._port, servers=" ".join(addresses))
        )
        self._nginx = subprocess.Popen(
            [NGINX, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"],
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._is_up)

    def _is_up(self) -> bool:
        try:
            return self.send("GET", "/bank/health").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        self._nginx.terminate()
        self._nginx.wait()

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        client: str = PLATFORM,
        auth: tuple[str, str] = NEW,
    ) -> Response:
        headers = {"Authorization": basic(*auth), "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=PATIENCE, source_address=(client, 0)
        )
        with closing(connection):
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            raw = connection.getresponse()
            return Response(raw.status, raw.reason, raw.getheaders(), raw.read())

    def target(self, call_id: str, tool: str) -> str:
        """Return the target of a tool in the document of a call."""
        document = self.send("GET", f"/bank?call_id={call_id}").json
        functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = urlsplit(next(each["web_hook_url"] for each in functions if each["function"] == tool))
        return f"{url.path}?{url.query}"

    def call(self, target: str, tool: str, call_id: str, **arguments: Any) -> Response:
        body = {"function": tool, "call_id": call_id, "argument": {"parsed": [arguments]}}
        return self.send("POST", target, body)

    def replica_of(self, response: Response) -> str:
        """Return the replica that nginx names in a response."""
        port = response.headers["X-Upstream"].rpartition(":")[2]
        return next(name for name, each in self.servers.items() if str(each.port) == port)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the value of each time series, by replica."""
        return {
            name: {
                series: float(value)
                for line in server.request("GET", "/bank/metrics", auth=NEW).text.splitlines()
                if not line.startswith("#")
                for series, _, value in [line.rpartition(" ")]
            }
            for name, server in self.servers.items()
        }

    def lines(self) -> list[str]:
        """Return the lines of all replicas, as a collector of logs has them."""
        return [line for each in self.servers.values() for line in each.lines]


if NGINX is not None:

    @pytest.fixture
    def valkey(own_valkey: Any) -> Any:
        return own_valkey()

    @pytest.fixture
    def service(gunicorn: Any, tmp_path: Path, valkey: Any) -> Iterator[Service]:
        service = Service(gunicorn, tmp_path, valkey)
        yield service
        service.stop()

    def test_log_and_metrics_alone_explain_the_incident(service: Service, valkey: Any) -> None:
        # Before the store fails: two good calls, a stolen token, and two passwords.
        pay, balance = service.target("call-1", "pay"), service.target("call-1", "balance")
        assert service.call(balance, "balance", "call-1").json == {"response": "12"}
        before = datetime.now(timezone.utc)
        refused = service.call(balance, "balance", "call-2")
        after = datetime.now(timezone.utc)
        assert "not able to do that" in refused.json["response"]
        assert service.send("GET", "/bank?call_id=x", client=LATE, auth=OLD).status == 200
        assert service.send("GET", "/bank?call_id=x", client=GUESSING, auth=WRONG).status == 401
        assert service.call(pay, "pay", "call-1", amount=5).json == {"response": "Paid 5."}
        # The response is lost, and the store fails. The platform repeats the call, and the AI
        # makes another one.
        valkey.stop()
        for amount in 5, 7:
            response = service.call(pay, "pay", "call-1", amount=amount)
            assert response.status == 200
            assert "Paid" not in response.json["response"]
        # A payment whose arguments are wrong.
        wrong = service.target("call-3", "pay")
        service.call(wrong, "pay", "call-3", amount="all")
        last = service.call(balance, "balance", "call-1")
        assert last.json == {"response": "12"}
        metrics = service.metrics()
        for server in service.servers.values():
            server.process.terminate()
            server.process.wait(PATIENCE)
            server.wait()

        reader = Reader(service.lines())
        (call,) = reader.refused_calls()
        assert (call.tool, call.reason, call.call_id) == ("balance", "wrong_call", "call-2")
        assert before.replace(microsecond=before.microsecond // 1000 * 1000) <= call.time <= after
        assert call.replica == service.replica_of(refused)
        assert call.request_id == refused.headers["X-Request-Id"]

        # One payment was done, once; of the other one, only the bank knows. The ledger agrees.
        payments = reader.payments("call-1")
        assert sorted(payments.values()) == ["ask", "once"]
        assert service.ledger.read_text() == "5\n"
        (done,) = (key for key, state in payments.items() if state == "once")
        levels = [(each["outcome"], each["level"]) for each in reader.of("calls", once=done)]
        assert levels == [("ran", "INFO"), ("unknown", "WARNING")]
        assert set(reader.payments("call-3").values()) == {"no"}

        assert reader.users_of_the_old_password() == {(LATE, "platform", "bank")}

        # The metrics agree: they have no calls and clients, but say how often, and where.
        refusals = 'swaig_refusals_total{agent="bank",event="tool_token_refused"'
        assert metrics[call.replica][refusals + ',reason="wrong_call"}'] == 1
        total = sum((Counter(each) for each in metrics.values()), Counter())
        for outcome, count in ("ran", 1), ("unknown", 2), ("invalid_arguments", 1):
            name = f'swaig_tool_calls_total{{agent="bank",outcome="{outcome}",tool="pay"}}'
            assert total[name] == count
        assert total['swaig_fallback_credentials_total{kind="password"}'] == 1

        log = "".join([*service.lines(), *total])
        assert re.search("__token=(?!\\*)", log) is None
        for secret in (NEW[1], OLD[1], WRONG[1], SECRET):
            assert secret not in log


DYING = (
    AGENT
    + """
@app.tool(secure=True, once=0.2)
def pay(amount: int) -> str:
    "Pay."
    os.write(ledger, b"%d\\n" % amount)
    if amount == 13:
        os._exit(9)
    return f"Paid {amount}."
"""
)


def test_a_payment_of_a_process_that_died_and_one_made_twice_are_in_the_log(
    gunicorn: Any, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    ledger = tmp_path / "ledger"
    server = gunicorn(
        "dying:app",
        *("-c", "python:swaig_wsgi.gunicorn", "-w1", "--log-level=info"),
        cwd=str(tmp_path),
        LEDGER=str(ledger),
        SIGNALWIRE_LOG_FORMAT="json",
        SIGNALWIRE_LOG_LEVEL="warn",
        SIGNALWIRE_SWAIG_SECRET=SECRET,
        SWML_BASIC_AUTH_USER=NEW[0],
        SWML_BASIC_AUTH_PASSWORD=NEW[1],
        SWML_METRICS="true",
        TMPDIR=str(tmp_path),
    )

    def pay(call_id: str, amount: int, times: int) -> None:
        document = server.request("GET", f"/bank?call_id={call_id}", auth=NEW).json
        (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
        url = urlsplit(tool["web_hook_url"])
        body = {
            "function": "pay",
            "call_id": call_id,
            "argument": {"parsed": [{"amount": amount}]},
        }
        for _ in range(times):
            server.request("POST", f"{url.path}?{url.query}", body, auth=NEW)
            time.sleep(1)  # longer than `once`

    pay("call-1", 5, 2)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        pay("call-2", 13, 1)
    series = series_of(server.request("GET", "/bank/metrics", auth=NEW).text)
    assert series[("swaig_tool_starts_total", "bank", "pay")] == 3
    assert series[("swaig_tool_calls_total", "bank", "ran", "pay")] == 2
    server.stop()
    server.wait()

    reader = Reader(server.lines)
    assert ledger.read_text() == "5\n5\n13\n"
    assert list(reader.payments("call-1").values()) == ["twice"]
    assert list(reader.payments("call-2").values()) == ["ask"]
    assert reader.of("calls", tool="pay", call_id="call-2") == []
