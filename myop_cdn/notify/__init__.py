"""Telling people that publishing fails, and that it works again.

The way of the data: `Event`s of runs → `policy.decide`, a pure function that says what is told and
when → `Notice`s → `messages`, in the form of each receiver → `sender`, on threads of its own, so
that nobody waits for a receiver.
"""
