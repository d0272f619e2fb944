"""Recipes: written, checked by their systems' own tools, and run."""
