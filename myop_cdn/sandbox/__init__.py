"""Myop's API on this machine, served from an export folder, for rehearsals and tests."""

from __future__ import annotations

from myop_cdn.sandbox.api import REHEARSAL_KEY, Answer, Api, index_of
from myop_cdn.sandbox.faults import Fault, Faults
from myop_cdn.sandbox.http import Request, Sandbox

__all__ = ["REHEARSAL_KEY", "Answer", "Api", "Fault", "Faults", "Request", "Sandbox", "index_of"]
