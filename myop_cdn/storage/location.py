"""Where a destination's URL points: a bucket or container, and a prefix inside of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from myop_cdn import names
from myop_cdn.errors import InputError
from myop_cdn.text import shown_url


class Location(NamedTuple):
    """A bucket (or container) and a prefix without slashes at its ends; "" is the whole bucket."""

    scheme: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str, pattern: str, noun: str = "bucket", rule: str = "") -> Location:
        """`scheme://bucket[/prefix]`, taken literally: nothing is percent-decoded.

        pattern: a regular expression for the whole name of the bucket, or what the service calls
        it (noun). rule: the same in words. Raises InputError.
        """
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        form = f"write {scheme}://{noun}[/prefix]"
        if "?" in rest or "#" in rest:
            raise InputError(f"{shown_url(url)}: a destination takes neither a ? nor a #", form)
        if "@" in bucket:
            raise InputError(
                f"a {scheme}:// destination takes no user or password",
                "credentials come from the environment",
            )
        if re.fullmatch(pattern, bucket) is None:
            what = (
                f"{names.shown(bucket)!r} is not a {noun} name" if bucket else f"no {noun} is named"
            )
            raise InputError(f"{shown_url(url)}: {what}", (bucket and rule) or form)
        return cls(scheme, bucket, check_prefix(prefix, url))

    @property
    def url(self) -> str:
        """The destination in one spelling."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def root(self) -> str:
        """What every full key begins with: "" or the prefix and a slash."""
        return f"{self.prefix}/" if self.prefix else ""

    def full(self, key: str) -> str:
        """The key in the bucket of an object of this destination."""
        return self.root + key

    def relative(self, full_key: str) -> str:
        """The opposite of `full`."""
        return full_key.removeprefix(self.root)


def check_prefix(prefix: str, url: str) -> str:
    """`prefix` without slashes at its ends. Raises InputError where a segment is not a name."""
    prefix = prefix.strip("/")
    for segment in prefix.split("/") if prefix else ():
        if trouble := names.segment_problem(segment):
            raise InputError(f"{shown_url(url)}: a part of the prefix {trouble}")
    return prefix
