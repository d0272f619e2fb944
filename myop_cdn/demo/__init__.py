"""The whole loop on one machine: a small Myop, a listener, a release, a folder as the CDN."""

from __future__ import annotations
