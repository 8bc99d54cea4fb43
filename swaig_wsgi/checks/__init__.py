"""The findings of ``swaig-wsgi check``, also for Django and for other programs.

They cover the "Production Checklist" section of the SDK's guide, and what else makes a service
unsafe, judged by the values of its settings. ``docs/checklist.md`` lists all of them.
"""

from ._agents import find_agents
from ._application import check_application
from ._findings import CATALOG, POINTS, Finding, Kind
from ._probe import ProbeError, check_url
from ._settings import check_environ, check_mapping, check_settings, check_variables

__all__ = [
    "CATALOG",
    "POINTS",
    "Finding",
    "Kind",
    "ProbeError",
    "check_application",
    "check_environ",
    "check_mapping",
    "check_settings",
    "check_url",
    "check_variables",
    "find_agents",
]
