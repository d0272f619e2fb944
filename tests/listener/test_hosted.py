"""The listener behind another server: publishing within the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from myop_cdn.errors import ListenerError, MyopCdnError
from myop_cdn.listener.hosted import PublishingStore
from tests.listener.queue.contract import record, store
from tests.listener.rig import FakePublisher, Lines, raising, refs

if TYPE_CHECKING:
    from myop_cdn.model import Scope
    from myop_cdn.report import PublishReport


def test_a_destination_that_fails_keeps_a_release_from_no_other() -> None:
    broken, whole, log = FakePublisher(), FakePublisher(), Lines()
    broken.answers = [raising(MyopCdnError("no such bucket"))]
    publishing = PublishingStore((broken, whole), log)
    with pytest.raises(ListenerError, match="no such bucket"):
        store(publishing, record("d1"))
    assert [refs(scope) for scope in whole.scopes] == [{"a/prod"}]
    assert store(publishing, record("d2")) is None
    publishing.close()
    assert whole.deliveries == broken.deliveries == [("d1",), ("d2",)]
    assert "no such bucket" in log.text()


def test_a_defect_while_publishing_is_an_error_of_that_delivery_alone() -> None:
    def broken(scope: Scope) -> PublishReport:
        return None  # type: ignore[return-value]

    publisher = FakePublisher()
    publisher.answers = [broken]
    publishing = PublishingStore((publisher,), Lines())
    with pytest.raises(ListenerError, match="unexpected AttributeError"):
        store(publishing, record("d1"))
    assert store(publishing, record("d2")) is None
    publishing.close()
