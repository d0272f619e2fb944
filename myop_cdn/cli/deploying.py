"""The options that only a deploy has, for `deploy`, `publish` and `serve` alike."""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from myop_cdn.cli.options import with_options
from myop_cdn.deploy.options import DEFAULT_CACHE_CONTROL, DeployOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from myop_cdn.cli.options import Option


class HeaderValue(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """What may stand in an HTTP header: printable ASCII on one line, or nothing."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text without blanks around it; a usage error for anything else."""
        text = str(value).strip()
        if not all(" " <= sign <= "~" for sign in text):
            self.fail("a header's value is plain ASCII on one line", param, ctx)
        return text


class Origin(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """An origin as browsers write it: scheme, host, port where it is not the usual one."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The origin, or "*"; a usage error for anything else."""
        text = str(value).strip()
        if text != "*" and re.fullmatch(r"https?://[A-Za-z0-9.*\[\]:-]+", text) is None:
            self.fail(f"{text!r} is no origin: write https://app.example.com", param, ctx)
        return text


_NAMES = (
    "delete",
    "cache_control",
    "encoding",
    "invalidate",
    "wait",
    "ledger",
    "endpoint_url",
)
DEPLOY_OPTIONS: tuple[Option, ...] = (
    click.option("--delete", is_flag=True, help="Delete objects that a complete tree lacks."),
    click.option(
        "--cache-control",
        type=HeaderValue(),
        default=DEFAULT_CACHE_CONTROL,
        show_default=True,
        metavar="TEXT",
        help="The objects' Cache-Control header.",
    ),
    click.option(
        "--encoding",
        type=click.Choice(["identity", "gzip"]),
        default="identity",
        show_default=True,
        help="How objects are stored.",
    ),
    click.option(
        "--invalidate",
        multiple=True,
        metavar="CDN",
        help="Tell this CDN what has changed: cloudfront:ID, cloudcdn:PROJECT/URLMAP, "
        "cloudflare:ZONE or frontdoor:…; repeat it for more.",
    ),
    click.option("--wait", is_flag=True, help="Wait until the CDNs are done."),
    click.option(
        "--cors-origin",
        "cors_origin",  # its variable and its entry in a config file are called so
        type=Origin(),
        multiple=True,
        metavar="URL",
        help="Let pages of this origin read the objects (https://app.example.com); repeat it.",
    ),
    click.option(
        "--ledger",
        metavar="URL",
        help="Keep the ledger in this folder or bucket, not beside the objects.",
    ),
    click.option(
        "--endpoint-url",
        metavar="URL",
        help="An S3-compatible service for s3:// destinations; AWS_ENDPOINT_URL works too.",
    ),
)


def deploy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that only a deploy has.

    The command gets them as one argument, `deploying`: a `DeployOptions` whose `jobs`,
    `max_delete` and `dry_run` are still the defaults, for `replace` to fill in.
    """

    @wraps(command)
    def with_deploying(*args: Any, **values: Any) -> Any:
        given = {name: values.pop(name) for name in _NAMES}
        deploying = DeployOptions(**given, cors_origins=values.pop("cors_origin"))
        return command(*args, deploying=deploying, **values)

    return with_options(*DEPLOY_OPTIONS)(with_deploying)
