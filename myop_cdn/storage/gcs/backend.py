"""`gs://bucket[/prefix]`: Google Cloud Storage.

Credentials are found as every Google tool does (Application Default Credentials: a key file, a
workload identity configuration, gcloud's login, the metadata server), at the first request.

Facts from the JSON API reference: an object's generation changes with its content;
`ifGenerationMatch` makes an upload conditional, 0 meaning that there is no such object; `md5Hash`
is the MD5 of the content as stored, absent for composite objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from myop_cdn.storage.gcs.errors import mapped
from myop_cdn.storage.gcs.place import find_place
from myop_cdn.storage.gcs.sdk import SECONDS, SdkObjects
from myop_cdn.storage.gcs.wire import WireObjects
from myop_cdn.storage.location import Location
from myop_cdn.storage.objects import ByObjects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.cloud.storage import Bucket

    from myop_cdn.storage.base import OpenOptions
    from myop_cdn.storage.objects import Objects

BUCKET_PATTERN = r"[a-z0-9][a-z0-9._-]{1,221}"
PAGE_SIZE = 1000
_CORS_MAX_AGE = 86400


class GcsBackend(ByObjects):
    """The objects of one bucket below a prefix. An object's version is its generation."""

    def __init__(self, location: Location, jobs: int) -> None:
        super().__init__(location.url, f"/{location.root}", PAGE_SIZE, self._find)
        self._location = location
        self._sdk = SdkObjects(location, jobs)

    def allow_origins(self, origins: Sequence[str]) -> bool:
        """Add one rule to the bucket's CORS configuration for the origins it lacks."""
        with mapped(self.url):
            bucket = self._sdk.bucket
            rules, missing = _rules(bucket, origins)
            if not missing:
                return False
            rule = {
                "origin": missing,
                "method": ["GET", "HEAD"],
                "responseHeader": ["*"],
                "maxAgeSeconds": _CORS_MAX_AGE,
            }
            bucket.cors = [*rules, rule]
            bucket.patch(if_metageneration_match=bucket.metageneration, timeout=SECONDS, retry=None)
        return True

    def lacks_origins(self, origins: Sequence[str]) -> bool:
        """Whether the bucket's CORS configuration lacks some."""
        with mapped(self.url):
            return bool(_rules(self._sdk.bucket, origins)[1])

    def close(self) -> None:
        """Close the connections, the library's too."""
        super().close()
        self._sdk.close()

    def _find(self) -> Objects:
        with mapped(self.url):
            place = find_place()
        return self._sdk if place is None else WireObjects(self._location, place)


def _rules(bucket: Bucket, origins: Sequence[str]) -> tuple[list[Any], list[str]]:
    """The bucket's CORS rules, and the origins that none of them lets read."""
    bucket.reload(timeout=SECONDS, retry=None)
    rules = list(bucket.cors)
    return rules, [one for one in origins if not any(_allows(rule, one) for rule in rules)]


def _allows(rule: Mapping[str, Any], origin: str) -> bool:
    methods = set(rule.get("method", ()))
    origins = rule.get("origin", ())
    return ({"GET", "HEAD"} <= methods or "*" in methods) and (origin in origins or "*" in origins)


def open_gcs(url: str, options: OpenOptions) -> GcsBackend:
    """The backend for `url`. Raises InputError for a malformed one."""
    return GcsBackend(Location.parse(url, BUCKET_PATTERN), options.jobs)
