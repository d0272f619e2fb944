"""Verify Myop's webhooks, export what was released, and publish it to your own CDN."""

__version__ = "0.1.0"
