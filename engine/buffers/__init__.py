"""Bytes in a row."""
