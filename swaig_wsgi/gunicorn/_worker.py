"""The worker class under ``python:swaig_wsgi.gunicorn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gunicorn  # type: ignore[import-untyped, unused-ignore]

__all__ = ["RELEASES", "Worker"]

#: The releases of gunicorn that the worker is tested with. It depends on their internals.
RELEASES = ("27.0.0", "27.0.1")

if TYPE_CHECKING or gunicorn.__version__ in RELEASES:
    from ._reading_worker import Worker
else:
    from gunicorn.workers.gthread import ThreadWorker

    class Worker(ThreadWorker):
        """gunicorn's own worker, for a release that ours is not tested with."""

        @classmethod
        def check_config(cls, cfg: Any, log: Any) -> None:
            log.warning(
                "gunicorn %s is not one of the releases that swaig_wsgi is tested with (%s): slow "
                "clients can occupy all threads",
                gunicorn.__version__,
                ", ".join(RELEASES),
            )
            super().check_config(cfg, log)
