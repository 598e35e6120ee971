"""Labelled scenes to tiles that train and score; see docs/own_scenes.md."""
