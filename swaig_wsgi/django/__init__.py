"""Optional integration with Django: ``"swaig_wsgi.django"`` in ``INSTALLED_APPS``.

``manage.py check --deploy`` then shows the findings of ``swaig-wsgi check``, under the same ids, so
that ``SILENCED_SYSTEM_CHECKS`` can silence them. The context processor
``"swaig_wsgi.django.csp_nonce"`` gives templates the nonce of the request.
"""

from ._checks import check_service
from ._csp import csp_nonce

__all__ = ["check_service", "csp_nonce"]
