import asyncio
import contextvars
import gc
import sys
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from swaig_wsgi.concurrency import CALLBACK_ERRORS, resolve

color = contextvars.ContextVar("color", default="none")


async def give(value):
    await asyncio.sleep(0)
    return value


class Later:
    """An awaitable that is not a coroutine."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.value


@types.coroutine
def generator_based(value):
    yield
    return value


def test_a_value_that_is_not_awaitable_is_returned_unchanged():
    value = object()
    assert resolve(value) is value
    assert resolve(None) is None


def test_generators_are_returned_unchanged():
    plain = (item for item in [True])
    assert resolve(plain) is plain

    async def asynchronous():
        yield True

    generator = asynchronous()
    assert resolve(generator) is generator


@pytest.mark.parametrize("kind", [give, Later, generator_based])
def test_an_awaitable_runs_to_completion(kind):
    assert resolve(kind(7)) == 7


def test_a_coroutine_returned_by_a_coroutine_is_awaited():
    assert resolve(give(give(give(7)))) == 7


@pytest.mark.parametrize("kind", [give, Later])
def test_inside_a_running_loop_the_awaitable_runs_in_a_fresh_thread(kind):
    async def caller():
        async def where():
            return threading.get_ident(), await kind(7)

        return threading.get_ident(), resolve(where())

    mine, (theirs, value) = asyncio.run(caller())
    assert value == 7
    assert theirs != mine


def test_context_variables_can_be_read_with_and_without_a_running_loop():
    async def read():
        return color.get()

    async def caller():
        color.set("blue")
        return resolve(read())

    color.set("red")
    assert resolve(read()) == "red"
    assert asyncio.run(caller()) == "blue"


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
def test_the_error_of_an_awaitable_is_raised(error):
    async def fail():
        raise error("reason")

    async def caller():
        with pytest.raises(error):
            resolve(fail())

    with pytest.raises(error):
        resolve(fail())
    if error is ValueError:
        asyncio.run(caller())


def test_a_future_of_another_loop_is_an_error_and_not_a_hang():
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError):
            resolve(loop.create_future())
    finally:
        loop.close()


@pytest.mark.parametrize("running", [False, True])
def test_a_coroutine_that_could_not_start_leaves_no_warning(monkeypatch, running):
    async def caller():
        with pytest.raises(OSError, match="too many open files"):
            resolve(give(7))

    def no_loop(*args, **kwargs):
        raise OSError("too many open files")

    def no_thread(self):
        raise OSError("too many open files")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if running:
            loop = asyncio.new_event_loop()
            monkeypatch.setattr(threading.Thread, "start", no_thread)
            loop.run_until_complete(caller())
            loop.close()
        else:
            monkeypatch.setattr(asyncio.events, "new_event_loop", no_loop)
            with pytest.raises(OSError, match="too many open files"):
                resolve(give(7))
        gc.collect()


def test_under_gevent_an_awaitable_runs_in_a_system_thread(monkeypatch):
    """gevent's monkey module is faked: these tests run without any package."""
    patched = {"threading"}
    monkey = types.SimpleNamespace(is_module_patched=patched.__contains__)
    threads = types.SimpleNamespace(ThreadPoolExecutor=ThreadPoolExecutor)
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setitem(sys.modules, "gevent.threadpool", threads)

    async def where():
        return threading.get_ident(), color.get()

    async def fail():
        raise LookupError("from the other thread")

    token = color.set("blue")
    try:
        thread, seen = resolve(where())
        assert (thread != threading.get_ident(), seen) == (True, "blue")
        with pytest.raises(LookupError, match="from the other thread"):
            resolve(fail())
        patched.clear()
        assert resolve(where()) == (threading.get_ident(), "blue")
    finally:
        color.reset(token)


def test_a_canceled_task_is_a_callback_error_and_an_end_of_the_process_is_not():
    assert issubclass(asyncio.CancelledError, CALLBACK_ERRORS)
    assert issubclass(ValueError, CALLBACK_ERRORS)
    assert not issubclass(SystemExit, CALLBACK_ERRORS)
    assert not issubclass(KeyboardInterrupt, CALLBACK_ERRORS)
