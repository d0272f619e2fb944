"""One destination as it was seen: its objects, its log, its manifest; looked at, never written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from myop_cdn.deploy.log import View
from myop_cdn.deploy.next_manifest import ManifestThere
from myop_cdn.deploy.remote import RemoteObject
from myop_cdn.deploy.writes import run_all
from myop_cdn.model import COMPONENTS, MANIFEST, DocumentRef, is_layout
from myop_cdn.workers import Beside

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from myop_cdn.deploy.log import Commit, Entry
    from myop_cdn.deploy.target import Target
    from myop_cdn.storage.base import ObjectInfo


class Destination:
    """What is there, as far as it was looked at. Every method raises StorageError, and AbortRun
    where the service refuses again and again.

    remote: the documents' objects by key. view: the log. first_manifest: as it was seen first.
    looked_at_all: whether `remote` has every document. looked: those that were looked at one by
    one. between: commits by others after the first look, oldest first.
    """

    def __init__(self, target: Target, jobs: int) -> None:
        self.store = target.store
        self.log = target.log
        self.cdns = target.cdns
        self.url = target.store.url
        self._is_folder = target.is_folder
        self._jobs = jobs
        self.remote: dict[str, RemoteObject] = {}
        self.view = View()
        self.first_manifest = ManifestThere()
        self.looked_at_all = False
        self.looked: set[str] = set()
        self.between: list[Commit] = []
        self._manifest: ManifestThere | None = None
        self._reading: Beside[View | None] | None = None

    def look_at(self, keys: Sequence[str]) -> None:
        """See these documents, and which commit is the newest; `finish_look` has read it."""

        def look(key: str | None) -> ObjectInfo | None:
            if key is not None:
                return self.store.head(key)
            self._reading = Beside(partial(self.log.view_of, self.log.newest_listed()), "look")
            return None

        for done in run_all(look, [None, *keys], self._jobs + 1, "look"):
            if done.error is not None:
                raise done.error
            if done.item is not None:
                self.looked.add(done.item)
                self._saw(done.item, done.result)

    def finish_look(self) -> None:
        """Wait for the newest commit. As a commit never changes, it may be read while Myop is
        asked: which one it is was seen before.
        """
        reading, self._reading = self._reading, None
        view = reading.result() if reading else self.view
        if view is None:  # cleared since, by a run that may have touched these documents
            view = self.log.newest()
            self.looked.clear()
        self.view = view

    def look_at_all(self) -> None:
        """See every document, the whole log and the manifest."""
        log = Beside(lambda: self.log.everything(self._jobs), "look")
        manifest = Beside(self.read_manifest, "look")
        listed = self.store.list(f"{COMPONENTS}/")
        self.head([one.key for one in listed if not one.version and DocumentRef.of(one.key)])
        self.view = log.result()
        self.first_manifest = manifest.result()
        entries, again = self.view.objects or {}, []
        listed.reverse()
        while listed:  # none is kept longer than it is needed
            info = listed.pop()
            if not info.version or not is_layout(info.key):
                continue
            entry, at = entries.get(info.key), self.view.moment_of(info.key)
            if info.metadata is None and entry and info.version == entry.version:
                seen = RemoteObject.logged(info, entry, at)
            else:
                seen = RemoteObject.of(info, hash_is_proof=not self._is_folder)
                if entry and info.version != entry.version and not seen.is_later(at):
                    again.append(info.key)
            self.remote[seen.key] = seen
        # The log may have been read after the listing, and tell of what was done in between.
        again += [key for key in entries if key not in self.remote and key != MANIFEST]
        self.head(again)
        self.looked_at_all = True

    def head(self, keys: Collection[str]) -> None:
        """See these documents as their metadata tell."""
        for done in run_all(self.store.head, keys, self._jobs, "head"):
            if done.error is not None:
                raise done.error
            self._saw(done.item, done.result)

    def look_again(self, keys: Collection[str]) -> None:
        """See these documents, as they may be others by now."""
        self.head(keys)
        self.looked.update(keys)

    def catch_up(self) -> list[Commit]:
        """Read the commits that others wrote since, oldest first."""
        number, newer = self.log.since(self.view.number)
        if number > self.view.number:
            newest = newer[-1] if newer and newer[-1].number == number else None
            state = self.log.state_of(newest) if newest else self.view.state
            self.view = self.view._replace(newest=newest, number=number, state=state)
            self.between += newer
        return newer

    @property
    def manifest(self) -> ManifestThere:
        """The manifest as it was last seen; read where it was not yet."""
        return self._manifest or self.read_manifest()

    @manifest.setter
    def manifest(self, there: ManifestThere) -> None:
        self._manifest = there

    @property
    def seen_manifest(self) -> ManifestThere:
        """As `manifest`, without a request: empty where it was not read."""
        return self._manifest or ManifestThere()

    def read_manifest(self) -> ManifestThere:
        """Read the manifest that is there."""
        self._manifest = ManifestThere(self.store.get(MANIFEST))
        return self._manifest

    def manifest_facts(self) -> ManifestThere:
        """The manifest with what its metadata say of it, which takes a request of its own."""
        there = self.manifest
        if there.blob is None or there.asked is not None:
            return there
        info = self.store.head(MANIFEST)
        there.asked = 0
        if info is not None and info.version == there.version:
            seen = RemoteObject.of(info, hash_is_proof=not self._is_folder)
            there.is_ours = seen.is_ours
            there.asked = seen.facts.asked if seen.facts else 0
        return there

    def known(self, key: str) -> Entry | None:
        """What is known of the document that is, or was, there."""
        there = self.remote.get(key)
        logged = (self.view.objects or {}).get(key)
        return there.facts if there and there.facts else logged

    def since(self, key: str) -> int:
        """When what the document holds came there, in seconds since 1970; 0 where not known."""
        there = self.remote.get(key)
        if there is not None and there.facts is not None and there.facts.variant:
            return there.since(there.facts.variant)
        return int(there.modified.timestamp()) if there and there.modified else 0

    def drifted(self, changed: Collection[str]) -> set[str]:
        """Documents that the log has and that are gone, without a commit that tells of it, as far
        as a look at everything tells. changed: what this run changed.
        """
        if not self.looked_at_all or self.view.objects is None:
            return set()
        away = {key for key in self.view.objects if key not in self.remote}
        return away.difference(changed) - {MANIFEST}

    def _saw(self, key: str, info: ObjectInfo | None) -> None:
        if info is None:
            self.remote.pop(key, None)
        else:
            self.remote[key] = RemoteObject.of(info, hash_is_proof=not self._is_folder)
