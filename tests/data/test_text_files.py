"""Text files in all common encodings, and files that are not text."""

from __future__ import annotations

import codecs
import itertools

import pytest

from pointata_jax.data.text_files import numbered_lines, plain_bytes, read_lines, read_text
from pointata_jax.errors import InputError

TEXT = "wave α\n\nsit down\n  0.5 1\t \n"
ENCODINGS = {
    "utf-8": b"",
    "utf-8 ": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize(
    ("encoding", "ends"), [*itertools.product(ENCODINGS, ("\n", "\r\n", "\r"))]
)
def test_encodings_and_line_ends(encoding, ends, tmp_path):
    path = tmp_path / "t.txt"
    content = ENCODINGS[encoding] + TEXT.replace("\n", ends).encode(encoding.strip())
    path.write_bytes(content)
    assert read_text(path) == TEXT
    assert read_lines(path) == ["wave α", "sit down", "0.5 1"]
    assert numbered_lines(path)[1] == (3, "sit down")
    assert plain_bytes(content, path) == TEXT.encode()


def test_latin_1_is_the_fallback_and_splits_no_line(tmp_path):
    path = tmp_path / "t.txt"
    # \x85 and \x0b end lines for str.splitlines.
    path.write_bytes("größe\x85x\x0by # 1\n2#3\n".encode("latin-1") + b"\x1a")
    assert read_text(path) == "größe\x85x\x0by # 1\n2#3\n"
    assert read_lines(path, comments=("#",)) == ["größe\x85x\x0by", "2"]
    path.write_bytes(b"")
    assert read_lines(path) == []
    assert read_text(path) == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x00\x01\x02", "t.txt is not a text file: it holds NUL bytes"),
        ("1 2 3".encode("utf-16-le"), "or UTF-16 without a byte order mark"),
        (
            codecs.BOM_UTF16_LE + b"\x00\xd8",
            "begins as UTF-16-LE text but is invalid from byte 2 on",
        ),
        (codecs.BOM_UTF8 + b"abc\xff", "begins as UTF-8 text but is invalid from byte 6 on"),
        (codecs.BOM_UTF32_LE + b"\xff\xff\xff\xff", "begins as UTF-32-LE text"),
    ],
)
def test_files_that_are_not_text(content, sentence, tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_text(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="none.txt does not exist"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder or device"):
        read_text(tmp_path)
