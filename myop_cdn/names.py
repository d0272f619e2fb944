"""What may be the name of a component, an environment or a variant.

Component ids and environment names become path segments on disk and in object keys, and
environments are named freely by the user, so a name is held to what every one of those
places takes. The same rule decides which object keys are this tool's own layout.
"""

from __future__ import annotations

import re

from myop_cdn.text import shown

__all__ = ["RESERVED", "problem", "segment_problem", "shown"]

RESERVED = ".myop-cdn"
MAX_NAME_BYTES = 200  # leaves room for ".json" and a temporary suffix in 255-byte file names
PLAIN = f"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{MAX_NAME_BYTES - 1}}}"  # a pattern of nearly all names
_PLAIN = re.compile(PLAIN)


def problem(name: object) -> str | None:
    """What is wrong with `name`, a component's for one, in words, or None.

    The words complete a sentence that names the place: "data.releases[3].environment is empty".
    """
    trouble = segment_problem(name)
    if trouble is not None or not isinstance(name, str):
        return trouble
    # A file system that folds case would take ".MYOP-CDN" for it, too.
    if name[:1] == "." and name.casefold().startswith(RESERVED):
        return f"begins with {RESERVED}, which this tool keeps for files of its own"
    return None


def segment_problem(name: object) -> str | None:
    """What is wrong with `name` as a path segment, in words, or None."""
    if not isinstance(name, str):
        return "is not a string"
    if _PLAIN.fullmatch(name):
        return None
    if not name:
        return "is empty"
    if not name.strip():
        return "is blank"
    if name in (".", ".."):
        return f"is {name!r}, which is not a name"
    for sign, words in (("/", "a slash"), ("\\", "a backslash"), ("\0", "a NUL")):
        if sign in name:
            return f"holds {words}"
    if any(ch < " " or "\x7f" <= ch < "\xa0" or ch in "\u2028\u2029" for ch in name):
        return "holds a control character"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "holds half a surrogate pair, which is not text"
    if size > MAX_NAME_BYTES:
        return f"is {size} bytes long; {MAX_NAME_BYTES} is the most"
    return None
