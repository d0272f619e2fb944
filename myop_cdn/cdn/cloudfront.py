"""`cloudfront:DISTRIBUTION`: Amazon CloudFront.

Facts from the CloudFront API Reference and Developer Guide ("Invalidating files"): paths are
URL-encoded and begin with a slash, `*` stands at the end alone; an origin path is put before what
the viewer asked for; at most 3,000 paths (15 wildcards) are under way for a distribution.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from myop_cdn.errors import InputError, InvalidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_cloudfront import CloudFrontClient

    from myop_cdn.cdn.base import Place

_ID = r"[A-Za-z0-9]{3,32}"
_POLLS = 90  # 30 minutes: an invalidation takes one or two
_POLL_SECONDS = 20.0
_DONE = "completed"


class CloudFront:
    """One distribution."""

    def __init__(self, distribution: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self.name = f"cloudfront:{distribution}"
        self._id = distribution
        self._sleep = sleep

    def invalidate(self, keys: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """One CreateInvalidation, its paths without the distribution's origin path."""
        with _mapped(self.name):
            client = _client()
            config: Any = client.get_distribution_config(Id=self._id)["DistributionConfig"]
            paths = place.paths(keys, _origin_path(config, place.bucket))
            answer = client.create_invalidation(
                DistributionId=self._id,
                InvalidationBatch={
                    "Paths": {"Quantity": len(paths), "Items": paths},
                    "CallerReference": f"myop-cdn-{secrets.token_hex(8)}",
                },
            )
        return paths, [answer["Invalidation"]["Id"]]

    def wait(self, running: Sequence[str]) -> None:
        """Ask every 20 seconds, half an hour at the most."""
        with _mapped(self.name):
            client = _client()
        for invalidation in running:
            for _ in range(_POLLS):
                with _mapped(self.name):
                    answer = client.get_invalidation(DistributionId=self._id, Id=invalidation)
                if answer["Invalidation"]["Status"].lower() == _DONE:
                    break
                self._sleep(_POLL_SECONDS)
            else:
                raise InvalidationError(f"{self.name}: invalidation {invalidation} takes too long")


def _client() -> CloudFrontClient:
    import boto3
    from botocore.config import Config

    # Without a region boto3 refuses, though CloudFront has none.
    return boto3.client(
        "cloudfront",
        region_name=boto3.Session().region_name or "us-east-1",
        config=Config(retries={"total_max_attempts": 8, "mode": "standard"}),
    )


def _origin_path(config: Mapping[str, Any], bucket: str) -> str:
    """The origin path of the origin that is this bucket, else of the default origin."""
    origins = config.get("Origins", {}).get("Items", [])
    mine = [one for one in origins if one.get("DomainName", "").startswith(f"{bucket}.")]
    default = config.get("DefaultCacheBehavior", {}).get("TargetOriginId")
    first = [one for one in origins if one.get("Id") == default]
    for origin in (*mine, *first):
        return str(origin.get("OriginPath", ""))
    return ""


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        hint = "allow cloudfront:GetDistributionConfig and cloudfront:CreateInvalidation"
        denied = "Denied" in code
        raise InvalidationError(
            f"{name}: {error.operation_name}: {code}", hint if denied else ""
        ) from None
    except BotoCoreError as error:
        raise InvalidationError(f"{name}: {type(error).__name__}") from None


def open_cloudfront(target: str) -> CloudFront:
    """The distribution called `target`. Raises InputError. No request is made.

    The endpoint may be set by AWS_ENDPOINT_URL_CLOUDFRONT, as in every AWS tool.
    """
    if re.fullmatch(_ID, target) is None:
        raise InputError(
            f"{target!r} is not a CloudFront distribution", "write cloudfront:E2EXAMPLE"
        )
    return CloudFront(target)
