"""What `serve` is behind another server, and what its publishing process is given."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from myop_cdn.cli.hosted import settings_from_environment
from myop_cdn.cli.serve import publishers_of


@pytest.mark.parametrize("destination", ["s3://b/p", "gs://b/p", "az://a/c/p", "file:///tmp/cdn"])
def test_what_is_to_be_loaded_before_the_first_run_is_there(
    destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYOP_CDN_SERVE_DEPLOY", destination)
    settings, _ = settings_from_environment()
    (publisher,) = publishers_of(settings)
    ours = [name for name in publisher.modules if name.startswith("myop_cdn.")]
    assert [name for name in ours if find_spec(name) is None] == []
