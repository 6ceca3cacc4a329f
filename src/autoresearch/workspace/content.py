"""A change of files as bytes: mode and text of each file by its path, base64 where it is no text."""

from __future__ import annotations

import base64
import json

from autoresearch.records import Blob, Edits


def pack(edits: Edits) -> bytes:
    rows = {path: None if blob is None else [blob.mode, *_text(blob.content)] for path, blob in edits.items()}
    return json.dumps(rows, sort_keys=True).encode()  # ASCII: a file name may be no valid unicode


def unpack(body: bytes) -> Edits:
    """What `pack` was given.

    Raises:
        ValueError, TypeError, AttributeError, KeyError, IndexError: it was given something else.
    """
    rows = json.loads(body)
    return {path: None if row is None else Blob(_bytes(row[1], row[2]), row[0]) for path, row in rows.items()}


def _text(content: bytes) -> tuple[str, str]:
    try:
        return "utf-8", content.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(content).decode()


def _bytes(encoding: str, text: str) -> bytes:
    return base64.b64decode(text) if encoding == "base64" else text.encode()
