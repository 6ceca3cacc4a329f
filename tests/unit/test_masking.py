"""Values that must not be seen: what is covered, what is left alone, what counts as a leak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch.masking import Mask, mask_of
from autoresearch.process.output import Cover
from autoresearch.records import Blob, Proposal

URL = "postgres://me:hunter2-and@127.0.0.1:5432/db"
MASK = Mask({"DATABASE_URL": URL, "API_TOKEN": "tok-12345"})


class Draft:
    """A parent with one file."""

    def read(self, path: str) -> bytes:
        if path == "known.txt":
            return b"has tok-12345 already"
        raise FileNotFoundError(path)


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        ("token tok-12345.", "token ***API_TOKEN***."),
        (f"cannot reach {URL}", "cannot reach ***DATABASE_URL***"),
        ("password hunter2-and is wrong", "password ***DATABASE_URL*** is wrong"),
        ("nothing here", "nothing here"),
    ],
)
def test_values_are_covered_by_the_name_of_their_variable(text: str, covered: str) -> None:
    assert MASK.cover(text) == covered


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "5432"), ("MODE", "production"), ("DEBUG", "1"), ("LEVEL", "0.12345"), ("EMPTY_KEY", "")]
)
def test_short_values_numbers_and_plain_words_are_left_alone(name: str, value: str) -> None:
    assert Mask({name: value}).secrets == ()


def test_plain_word_is_a_secret_where_the_variables_name_says_so() -> None:
    assert Mask({"DB_PASSWORD": "production"}).cover("production") == "***DB_PASSWORD***"


def test_token_that_stands_before_the_host_is_covered_alone() -> None:
    assert Mask({"REMOTE": "https://ghp_12345@host/x"}).cover("using ghp_12345") == "using ***REMOTE***"


def test_lines_of_a_value_are_covered_one_by_one() -> None:
    assert Mask({"PEM": "-----BEGIN\nabc123def456"}).cover("abc123def456") == "***PEM***"


def test_variable_that_is_not_set_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_TOKEN", raising=False)
    assert mask_of(["API_TOKEN"]).secrets == ()


@pytest.mark.parametrize("path", ["new.txt", "tok-12345.txt"])
def test_change_with_a_secret_becomes_a_failure_without_content(path: str) -> None:
    proposal = Proposal("use tok-12345", {path: Blob(b"key = 'tok-12345'")})
    hidden = MASK.hide(proposal, Draft())
    assert hidden.content is None
    assert hidden.failure is not None
    assert hidden.failure[0] == "secret"
    assert "tok-12345" not in f"{hidden.failure} {hidden.description}"


def test_secret_that_the_file_held_before_is_no_leak() -> None:
    assert MASK.hide(Proposal("", {"known.txt": Blob(b"still tok-12345")}), Draft()).failure is None


@given(st.lists(st.sampled_from([b"tok-12345", b"tok-", b"12345", b"x", b"tok-1"]), max_size=30), st.data())
def test_stream_is_covered_wherever_it_is_cut(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    cover = Cover([["tok-12345", "***"]])
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    shown = b"".join(cover.feed(piece) for piece in pieces) + cover.feed(b"", last=True)
    assert shown == whole.replace(b"tok-12345", b"***")


@given(st.lists(st.sampled_from([b"tok-", b"12345", b"tok-12345", b"678", b"x"]), max_size=30), st.data())
def test_longer_text_is_covered_whole_where_a_shorter_one_is_its_beginning(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    cover = Cover([["tok-12345678", "***LONG***"], ["tok-12345", "***SHORT***"]])
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    shown = b"".join(cover.feed(piece) for piece in pieces) + cover.feed(b"", last=True)
    assert shown == whole.replace(b"tok-12345678", b"***LONG***").replace(b"tok-12345", b"***SHORT***")
