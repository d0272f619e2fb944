"""Verify Myop's webhooks, export what was released, and publish it to your own CDN.

The names of `__all__` are what the commands do, for programs in Python ('myop-cdn help python').
They are loaded when they are first asked for: importing the package costs nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers read it; importing typing would take longer than all else
if TYPE_CHECKING:
    from myop_cdn.api import check, deploy, parse_payload, publish, status, sync, verify
    from myop_cdn.deploy.options import DeployOptions
    from myop_cdn.errors import InputError, MyopCdnError, PayloadError, SignatureInvalid
    from myop_cdn.model import Delivery, Release, Scope

__version__ = "0.1.0"
__all__ = [
    "Delivery",
    "DeployOptions",
    "InputError",
    "MyopCdnError",
    "PayloadError",
    "Release",
    "Scope",
    "SignatureInvalid",
    "check",
    "deploy",
    "parse_payload",
    "publish",
    "status",
    "sync",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("myop_cdn.api"), name)


def _function(name: str) -> property:
    def get(_package: object) -> object:
        return __getattr__(name)

    def ignore(_package: object, _module: object) -> None:
        pass

    return property(get, ignore)


class _Package(type(sys)):  # type: ignore[misc]  # mypy takes no call for a base class
    """The package: `check`, `deploy`, `publish`, `status` and `sync` are its functions, although
    modules of these names lie in it. Importing such a module sets the attribute, which is passed
    over here.
    """

    check = _function("check")
    deploy = _function("deploy")
    publish = _function("publish")
    status = _function("status")
    sync = _function("sync")


sys.modules[__name__].__class__ = _Package
