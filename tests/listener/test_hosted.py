"""The listener behind another server: publishing within the request."""

from __future__ import annotations

import pytest

from myop_cdn.errors import ListenerError, MyopCdnError
from myop_cdn.listener.hosted import PublishingStore
from tests.listener.queue.contract import record, store
from tests.listener.rig import FakePublisher, Lines, raising, refs


def test_a_destination_that_fails_keeps_a_release_from_no_other() -> None:
    broken, whole, log = FakePublisher(), FakePublisher(), Lines()
    broken.answers = [raising(MyopCdnError("no such bucket"))]
    publishing = PublishingStore((broken, whole), log)
    publishing.start()
    with pytest.raises(ListenerError, match="no such bucket"):
        store(publishing, record("d1"))
    assert [refs(scope) for scope in whole.scopes] == [{"a/prod"}]
    assert store(publishing, record("d2")) is None
    publishing.close()
    assert whole.deliveries == broken.deliveries == [("d1",), ("d2",)]
    assert "no such bucket" in log.text()
