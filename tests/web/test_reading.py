"""Requests in every form that clients send, and bodies that nobody should send."""

from __future__ import annotations

import string
from typing import Any

import orjson
import pytest
from flask import Flask, request
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import errors
from web import reading

_app = Flask("reading")
_app.config.update(MAX_CONTENT_LENGTH=1_000_000, MAX_FORM_MEMORY_SIZE=None)


def read(path: str = "/api.php", *, method: str = "POST", fold: bool = True, **options: Any) -> dict[str, Any]:
    with _app.test_request_context(path, method=method, **options):
        return reading.read(request, fold=fold)


def test_query_alone() -> None:
    assert read("/api.php?Command=User.Get&SessionID=", method="GET") == {"command": "User.Get", "sessionid": ""}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
def test_body_is_read_on_every_method(method: str) -> None:
    assert read(method=method, data=b'{"A": 1}') == {"a": 1}


def test_query_and_body_merge_and_the_body_wins_in_any_case() -> None:
    assert read("/api.php?COMMAND=a&Only=q", data=b'{"command": "b"}') == {"command": "b", "only": "q"}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json", None])
def test_brace_means_json_whatever_the_type(kind: str | None) -> None:
    assert read(data=b' \n{"A": [1]}', content_type=kind) == {"a": [1]}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", None])
@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b" " * 100])
def test_byte_order_mark_or_much_space_before_json(kind: str | None, before: bytes) -> None:
    assert read(data=before + b'{"A": 1}', content_type=kind) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"  \r\n"])
def test_empty_json_body_is_no_error(data: bytes) -> None:
    assert read("/api.php?a=1", data=data, content_type="application/json") == {"a": "1"}


def test_names_fold_at_every_depth_but_not_inside_headers() -> None:
    body = {"From": {"Email": "a@b"}, "To": [{"NAME": "x"}], "Headers": {"X-Case": "Y", "N": {"In": 1}}}
    assert read(data=orjson.dumps(body)) == {
        "from": {"email": "a@b"},
        "to": [{"name": "x"}],
        "headers": {"X-Case": "Y", "N": {"In": 1}},
    }


def test_headers_as_a_list_keep_their_spelling() -> None:
    assert read(data=b'{"headers": [{"X-Case": "1"}]}') == {"headers": [{"X-Case": "1"}]}


def test_exact_names_without_folding() -> None:
    assert read("/v1/send?A=1", data=b'{"a": {"B": 2}}', fold=False) == {"A": "1", "a": {"B": 2}}


def test_form_with_brackets() -> None:
    form = "From[email]=a%40b&To[0][email]=c&To[1][Email]=d&Tags[]=x&Tags[]=y&Headers[X-One]=1&T%5B%5D=z"
    assert read(data=form, content_type="application/x-www-form-urlencoded") == {
        "from": {"email": "a@b"},
        "to": [{"email": "c"}, {"email": "d"}],
        "tags": ["x", "y"],
        "headers": {"X-One": "1"},
        "t": ["z"],
    }


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_brackets_meet_in_any_case(kind: str) -> None:
    form = {"To[0][email]": "a", "to[0][NAME]": "b", "HEADERS[X-One]": "1", "headers[x-one]": "2", "SUBJECT": "s"}
    wanted = {"to": [{"email": "a", "name": "b"}], "headers": {"X-One": "1", "x-one": "2"}, "subject": "s"}
    assert read(data=form, content_type=kind) == wanted


def test_the_last_of_a_name_wins_in_any_case() -> None:
    assert read("/?A=1&a=2&A=3", method="GET") == {"a": "3"}
    assert read("/?A=1&a=2&A=3", method="GET", fold=False) == {"A": "3", "a": "2"}


def test_list_items_come_in_the_order_of_their_numbers() -> None:
    assert read("/?a[10]=c&a[2]=b&a[1]=a", method="GET") == {"a": ["a", "b", "c"]}


def test_brackets_that_do_not_match_are_part_of_the_name() -> None:
    assert read("/?a[b=1&[c]=2&d[e]f=3&g[h]i[j]=4", method="GET") == {
        "a[b": "1",
        "[c]": "2",
        "d[e]f": "3",
        "g[h]i[j]": "4",
    }


def test_a_scalar_gives_way_to_a_structure_and_back() -> None:
    assert read("/?a=1&a[b]=2&c[d]=1&c=2", method="GET") == {"a": {"b": "2"}, "c": "2"}


def test_of_a_repeated_name_the_last_wins() -> None:
    assert read("/?a=1&a=2", method="GET") == {"a": "2"}
    assert read(data=b'{"a": 1, "a": 2, "A": 3}') == {"a": 3}


def test_multipart() -> None:
    parts = {"Command": "x", "From[email]": "ü@b", "Tags[]": ["a", "b"]}
    assert read(data=parts, content_type="multipart/form-data") == {
        "command": "x",
        "from": {"email": "ü@b"},
        "tags": ["a", "b"],
    }


def test_multipart_large_field_is_not_cut() -> None:
    value = "x" * 700_000
    assert read(data={"A": value}, content_type="multipart/form-data") == {"a": value}


@pytest.mark.parametrize(
    "body", [b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": "\\ud800"}', b'{"a": "\xff"}', b"{}x"]
)
def test_what_is_not_json(body: bytes) -> None:
    with pytest.raises(errors.NotJson):
        read(data=body)


@pytest.mark.parametrize("body", [b"[1]", b'"text"', b"1", b"null", b"nonsense", b"[" * 5000])
def test_json_that_is_no_object(body: bytes) -> None:
    with pytest.raises(errors.NotJson):
        read(data=body, content_type="application/json; charset=utf-8")


def test_huge_numbers_are_read() -> None:
    assert read(data=b'{"a": 123456789012345678901234567890}')["a"] == pytest.approx(1.2345678901234568e29)


@pytest.mark.parametrize("depth, fine", [(reading.MAX_DEPTH, True), (reading.MAX_DEPTH + 1, False)])
def test_depth(depth: int, fine: bool) -> None:
    objects = b'{"a":' * depth + b"1" + b"}" * depth
    lists = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    headers = b'{"headers":' + b'{"a":' * (depth - 1) + b"1" + b"}" * depth
    for body in (objects, lists, headers):
        for fold in (True, False):
            if fine:
                assert read(data=body, fold=fold)
            else:
                with pytest.raises(errors.Invalid, match="nested deeper"):
                    read(data=body, fold=fold)


def test_depth_of_forms() -> None:
    assert read("/?a" + "[b]" * 31 + "=1", method="GET")
    with pytest.raises(errors.Invalid, match="nested deeper"):
        read("/?a" + "[b]" * 32 + "=1", method="GET")


def test_number_of_fields() -> None:
    most = reading.MAX_FIELDS
    assert len(read(data=orjson.dumps({str(i): 1 for i in range(most)}))) == most
    for body in (orjson.dumps({str(i): 1 for i in range(most + 1)}), orjson.dumps({"a": [0] * most})):
        with pytest.raises(errors.Invalid, match="fields"):
            read(data=body)
    with pytest.raises(errors.Invalid, match="fields"):
        read(data="&".join(f"a{i}=1" for i in range(most + 1)), content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize("query", ["/?a=%ff", "/?a=%ed%a0%80"])
def test_forms_that_are_not_utf8(query: str) -> None:
    with pytest.raises(errors.Invalid, match="UTF-8"):
        read(query, method="GET")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_broken_multipart(kind: str) -> None:
    with pytest.raises(errors.Invalid):
        read(data=b"--y\r\nnonsense", content_type=kind)


def test_too_large_by_its_length() -> None:
    with pytest.raises(errors.TooLarge):
        read(data=b"a=" + b"x" * 1_000_000, content_type="application/x-www-form-urlencoded")


@settings(max_examples=300, deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.text(alphabet=string.printable, max_size=200).map(str.encode),
        st.text(alphabet='{}[]":,\\eE+-.019 \nnulltrueNaN', max_size=80).map(lambda text: ("{" + text).encode()),
        st.text(alphabet="ab[]=&%0", max_size=80).map(str.encode),
    ),
    kind=st.sampled_from(
        ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/plain", ""]
    ),
    query=st.text(alphabet="ab[]=&%0cC", max_size=40),
)
def test_whatever_comes_is_read_or_refused(body: bytes, kind: str, query: str) -> None:
    try:
        fields = read(f"/api.php?{query}", data=body, content_type=kind)
    except errors.Invalid:
        return
    assert isinstance(fields, dict)
    assert all(name == name.lower() for name in fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(body=st.dictionaries(st.text("abcXYZ", min_size=1, max_size=5), json_values, max_size=5))
def test_values_survive_folding(body: dict[str, Any]) -> None:
    assert read(data=orjson.dumps(body), fold=False) == body
    assert read(data=orjson.dumps(body)) == _folded(body)


def _folded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name.lower(): _folded(item) for name, item in value.items()}
    return [_folded(item) for item in value] if isinstance(value, list) else value
