"""``swaig-wsgi vendor``."""

from __future__ import annotations

from ._copies import check_copy, make_copy
from ._errors import CommandError
from ._manifest import VendoringError


def vendor(
    dest: str,
    middleware: bool = False,
    stores: bool = False,
    force: bool = False,
    check: bool = False,
) -> int:
    """Make the copy in `dest`, or check it and return 1 if there is anything to report."""
    if check and (stores or middleware or force):
        raise CommandError("--check stands alone: it cannot be combined with other options")
    try:
        if check:
            problems = check_copy(dest)
            print(*problems, sep="\n", end="\n" if problems else "")
            return int(bool(problems))
        manifest = make_copy(dest, stores=stores, middleware=middleware, force=force)
    except (VendoringError, OSError) as error:
        raise CommandError(error, 1 if check else 2) from None
    print(f"{dest}: swaig-wsgi {manifest.version}, {', '.join(manifest.parts)}")
    return 0
