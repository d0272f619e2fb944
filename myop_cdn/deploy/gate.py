"""What is refused for safety, decided before anything is changed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from myop_cdn.errors import RefusedError
from myop_cdn.model import MANIFEST, DocumentRef, largest_component

if TYPE_CHECKING:
    from collections.abc import Collection

    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.deploy.plan import Plan
    from myop_cdn.deploy.source import Source


def may_delete(source: Source, options: DeployOptions) -> tuple[bool, str | None]:
    """Whether this source may delete at all, and a note where `delete` is passed over.

    Raises RefusedError where deleting was asked for and the tree is not a whole one.
    """
    if not options.delete:
        return False, None
    why = _incomplete(source)
    if why is None:
        return True, None
    if options.skip_partial_delete:
        return False, f"--delete was passed over: {why}"
    raise RefusedError(
        f"--delete needs a complete tree, and {why}",
        "run a full sync first (myop-cdn sync --full), or leave --delete out",
    )


def _incomplete(source: Source) -> str | None:
    if source.manifest is None:
        return f"this one is partial: it has no {MANIFEST}"
    if not source.manifest.entries:
        return f"the {MANIFEST} of this one names no component"
    missing = source.missing
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"the {MANIFEST} of this one names {missing[0]}{more}, which it does not hold"
    return None


def check_limit(plan: Plan, there: Collection[str], options: DeployOptions) -> None:
    """Raise RefusedError where more of the objects of the layout would go than may. there: the
    keys of all of them.
    """
    count, total = len(plan.deletes), len(there)
    if not count:
        return
    largest = largest_component(ref for ref in map(DocumentRef.of, there) if ref)
    if not options.max_delete.allows(count, total, largest_component=largest):
        raise RefusedError(
            f"{count} of {total} objects would be deleted; the limit is {options.max_delete}",
            "nothing was changed; look at it with --dry-run --max-delete 100%, "
            "then raise --max-delete if that is meant",
        )
