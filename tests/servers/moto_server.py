"""moto's server, whose writes come one after the other, as S3's do.

moto compares `If-Match` and `If-None-Match` first and puts the object afterwards, in threads: two
writers may both find what they expected, and both be told 200. S3 lets one of them through.

Usage: moto_server.py PORT
"""

from __future__ import annotations

import sys
import threading
from functools import wraps
from typing import TYPE_CHECKING, Any

from moto.s3.responses import S3Response
from moto.server import main

if TYPE_CHECKING:
    from collections.abc import Callable

_one_at_a_time = threading.RLock()


def _locked(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def locked(*args: Any, **more: Any) -> Any:
        with _one_at_a_time:
            return method(*args, **more)

    return locked


def put_writes_in_order() -> None:
    """From now on, in this process."""
    for name in ("put_object", "copy_object", "delete_object"):
        setattr(S3Response, name, _locked(getattr(S3Response, name)))


if __name__ == "__main__":
    put_writes_in_order()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
