"""`uvicorn myop_cdn.asgi:app`: Myop's webhooks under any ASGI server (ASGI 3, HTTP and lifespan).

Configured by the environment as `serve` is; see 'myop-cdn help replicas'.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from myop_cdn.cli.hosted import end, receiver
from myop_cdn.listener.hosted import peer_of, request_of
from myop_cdn.listener.http.response import Responder, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from myop_cdn.listener.hosted import Receiver

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "http":
        found = await asyncio.to_thread(receiver)
        response = await _answer(found, scope, receive)
        if response is not None:
            await _send(response, scope["method"], send)
    else:
        raise NotImplementedError(f"{scope['type']} is not spoken here")


async def _live(receive: Receive, send: Send) -> None:
    """Begin with the server, so that a listener takes over without a request, and end with it."""
    await receive()
    try:
        await asyncio.to_thread(receiver)
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(end)
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(found: Receiver, scope: Message, receive: Receive) -> Response | None:
    fields = ((name.decode("latin-1"), value) for name, value in scope["headers"])
    request = request_of(scope["method"], scope["path"], fields)
    peer = peer_of(scope.get("client"))
    response = found.head(request, peer)
    if response is not None:
        return response
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body") or len(body) > found.max_body:
            break
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Response] = loop.create_future()

    def settle(response: Response) -> None:
        if not answer.done():
            answer.set_result(response)

    def later(response: Response) -> None:
        loop.call_soon_threadsafe(settle, response)

    found.body(request, Responder(peer, later), bytes(body))
    return await answer


async def _send(response: Response, method: str, send: Send) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in response.headers),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
