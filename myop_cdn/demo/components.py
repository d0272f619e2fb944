"""The demo's Myop: three components by hand, their variants, and what is live where.

The HTML lies in `html/`, one file for each variant. `Myop` writes the documents into a folder in
the static format, which the sandbox serves; a release changes that folder as Myop would change
its answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING

from myop_cdn import jsontext
from myop_cdn.model import MANIFEST, PREVIEW, DocumentRef, Release
from myop_cdn.moments import written
from myop_cdn.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ORGANIZATION = "juniper0-0000-4000-8000-000000000000"
ENVIRONMENTS = ("production", "staging", "qa")


@dataclass(frozen=True, slots=True)
class Variant:
    """One version of a component. file: its HTML in `html/`, without the suffix."""

    id: str
    name: str
    file: str

    @property
    def html(self) -> str:
        """The HTML, self-contained."""
        return (files(__package__) / "html" / f"{self.file}.html").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Component:
    """A component with the variant that is live in each of `ENVIRONMENTS`, in their order.

    latest: the newest variant, released or not, which is what `preview` shows.
    """

    id: str
    name: str
    live: tuple[Variant, ...]
    latest: Variant

    def in_environment(self, environment: str) -> Variant:
        """The variant that the component's document of `environment` holds at the start."""
        return self.latest if environment == PREVIEW else self.live[_position(environment)]

    def document(self, variant: Variant) -> bytes:
        """The component's document with that variant, as the official tool writes it."""
        loader = {"type": "HTMLLoader", "shadowRootMode": "localFrame", "HTML": variant.html}
        item = {
            "name": self.name,
            "id": self.id,
            "organizationId": ORGANIZATION,
            "consume_variant": [{"id": variant.id, "name": variant.name, "loader": loader}],
        }
        return jsontext.dumps({"version": "0.2.10", "item": item})


def _position(environment: str) -> int:
    return ENVIRONMENTS.index(environment)


CALM = Variant("b1a6c1e0-51c3-4f0e-9a54-0c9d7a3f1a01", "Calm", "banner-calm")
MIDSUMMER = Variant("b1a6c1e0-51c3-4f0e-9a54-0c9d7a3f1a02", "Midsummer", "banner-midsummer")
CLASSIC = Variant("c27d9b44-6a0d-4d38-b9f5-63f1f0a52b01", "Classic", "pricing-classic")
AURORA = Variant("c27d9b44-6a0d-4d38-b9f5-63f1f0a52b02", "Aurora", "pricing-aurora")
PASSWORD = Variant("d3905e7c-8b1f-47d6-8e60-1f7ba94c3c01", "Password", "sign-in-classic")
PASSKEY = Variant("d3905e7c-8b1f-47d6-8e60-1f7ba94c3c02", "Passkey", "sign-in-passkey")

BANNER = Component(
    "5f0c2a9e-3d1b-4c57-9c1e-7a4be2f90b11", "Banner", (CALM, CALM, MIDSUMMER), MIDSUMMER
)
PRICING = Component(
    "8a47d6b2-0e93-4f8b-b6a5-2c9f15d07e22", "Pricing Card", (CLASSIC, CLASSIC, AURORA), AURORA
)
SIGN_IN = Component(
    "e6d13f85-7c4a-4b29-8d02-94f3a8c61d33",
    "Sign-in Form",
    (PASSWORD, PASSKEY, PASSKEY),
    PASSKEY,
)
COMPONENTS = (BANNER, PRICING, SIGN_IN)


class Myop:
    """What Myop knows, as a folder for the sandbox to serve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tree = Tree(folder)

    def write(self) -> None:
        """Write every document and the index. Raises TreeError."""
        for component in COMPONENTS:
            for environment in (*ENVIRONMENTS, PREVIEW):
                self._put(component, environment, component.in_environment(environment))
        self._tree.write(MANIFEST, _index(datetime.now(UTC)))

    def release(
        self, component: Component, variant: Variant, environments: Sequence[str]
    ) -> tuple[Release, ...]:
        """Make `variant` live in `environments`; what Myop then announces. Raises TreeError."""
        for environment in environments:
            self._put(component, environment, variant)
        return tuple(
            Release(component.id, environment, variant.id, f"env-{environment}")
            for environment in environments
        )

    def _put(self, component: Component, environment: str, variant: Variant) -> None:
        path = DocumentRef(component.id, environment).path
        self._tree.write(path, component.document(variant))


def _index(now: datetime) -> bytes:
    components = [
        {"id": one.id, "name": one.name, "environments": list(ENVIRONMENTS)} for one in COMPONENTS
    ]
    return jsontext.dumps(
        {
            "version": 1,
            "exportedAt": written(now),
            "organization": ORGANIZATION,
            "components": components,
        }
    )
