"""Arithmetic of pixels that every room shares."""
