"""What comes from outside, made fit for a terminal, a log or a CI job: the one filter for it.

Names, URLs, error texts of services, user agents and events are written by others. Here they
become harmless: what moves a cursor, hides or reorders text is escaped, long text is cut, URLs
lose their credentials, and no line is left that a CI system would take for a command of its own.
All functions take any text, never raise, and leave text alone that they have filtered before.
"""

from __future__ import annotations

import re

MAX_LINE = 4000  # characters of one line on a terminal or in a log
HIDDEN = "***"

# Letters and marks by their category, yet nothing to see: Unicode's Default_Ignorable_Code_Point.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
# Azure Pipelines and older GitHub runners look for these anywhere in a line.
_COMMANDS = ("##[", "##vso[", "##teamcity[")
# Patterns are compiled at their first use: most runs show no URL, and `verify` starts fast.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}:[/\\]+"
_SENSITIVE = (
    r"(?i)\b(sig|signature|[a-z-]{0,20}(?:token|secret|password|credential)|x-(?:amz|goog)-signature"
    r"|accountkey|sharedaccesssignature)=(?!\*\*\*)[^&;\s\"'<>]*[^&;\s\"'<>:]"
)


def shown(text: object, limit: int = 80) -> str:
    """`text` as a part of a message: on one line, printable, at most `limit` characters."""
    return _cut(_printable(str(text)[: limit + 1]), limit)


def line(text: object, limit: int = MAX_LINE) -> str:
    """`text` as a whole line for a person, a log or a CI job.

    Beyond what `shown` does, credentials in URLs are hidden, and what GitHub, Azure Pipelines or
    TeamCity would carry out is escaped. (GitLab's section markers need control characters.)
    """
    value = without_credentials(_printable(str(text)[: 2 * limit]))
    for command in _COMMANDS:
        if command in value:
            value = value.replace(command, "#\\x23" + command[2:])
    if value.lstrip().startswith("::"):
        value = value.replace("::", "\\x3a:", 1)
    return _cut(value, limit)


def json_text(text: str) -> str:
    """JSON text with the same values, that no terminal and no CI system acts upon.

    In JSON these characters stand in strings only, where they can be written as escapes.
    """
    if "##" in text:
        text = text.replace("##", "#\\u0023")
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(one if one in "\n\r\t" or _is_plain(one) else _json_escape(one) for one in text)


def shown_url(text: object, limit: int = 200) -> str:
    """A URL, or what was meant for one, without credentials.

    User information, the query and the fragment are hidden whatever they hold; so is what stands
    where a port should be. In doubt too much is hidden rather than too little.
    """
    value = str(text)[:MAX_LINE].strip()
    scheme = re.match(_SCHEME, value)
    start, rest = (value[: scheme.end()], value[scheme.end() :]) if scheme else ("", value)
    at = rest.rfind("@")
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    if "@" in authority or (at >= 0 and ":" in rest[:at]):
        rest = HIDDEN + rest[at:]
    elif not re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]{0,5})?", authority):
        rest = authority.partition(":")[0] + ":" + HIDDEN  # a key may well hold a slash
    rest, query, _ = rest.partition("?")
    if query:
        rest += "?" + HIDDEN
    elif not start.lower().startswith("file:"):
        rest = re.sub(r"#.+", "#" + HIDDEN, rest, count=1, flags=re.DOTALL)
    return shown(re.sub(_SENSITIVE, rf"\1={HIDDEN}", start + rest), limit)


def shown_origin(text: object) -> str:
    """Scheme, host and port of a URL, for one whose path is a secret (a chat's web hook)."""
    value = shown_url(text)
    scheme = re.match(_SCHEME, value)
    start = scheme.end() if scheme else 0
    return value[:start] + re.split(r"[/\\?#]", value[start:], maxsplit=1)[0]


def without_credentials(text: str) -> str:
    """Prose of others with the credentials in its URLs hidden: user information, signatures."""
    if "://" in text and "@" in text:
        text = "".join(map(_without_userinfo, re.split(r"(\s)", text)))
    return re.sub(_SENSITIVE, rf"\1={HIDDEN}", text) if "=" in text else text


def _without_userinfo(word: str) -> str:
    start, at = word.find("://") + 3, word.rfind("@")
    if start < 3 or at < start:
        return word
    userinfo = word[start:at]
    if not re.search(r"[/?#]", userinfo) or ":" in userinfo:
        return word[:start] + HIDDEN + word[at:]
    return word


def _cut(value: str, limit: int) -> str:
    return value if len(value) <= limit else value[: limit - 1] + "…"


def _printable(text: str) -> str:
    if text.isprintable() and (text.isascii() or _INVISIBLE.isdisjoint(text)):
        return text
    return "".join(one if _is_plain(one) else ascii(one)[1:-1] for one in text)


def _is_plain(sign: str) -> bool:
    return sign.isprintable() and sign not in _INVISIBLE


def _json_escape(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
