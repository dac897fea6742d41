"""JSON, callbacks and XML."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import orjson
from hypothesis import given
from hypothesis import strategies as st

from commands.formats import render, xml


def test_xml_of_everything() -> None:
    body = {
        "Success": True, "ErrorCode": 0, "None": None, "List": [1, {"a": "b"}], "TagStats": {"2 tags!": 1, "": 2},
        "xmlish": "x", "Text": "a]]>b\x00\x1b\ufffe<&>",
    }  # fmt: skip
    root = ElementTree.fromstring(xml(body))
    assert root.findtext("Success") == "true" and root.findtext("ErrorCode") == "0"
    assert root.findtext("List/node_0") == "1" and root.findtext("List/node_1/a") == "b"
    assert [item.tag for item in root.find("TagStats") or []] == ["_2_tags_", "_"]
    assert root.findtext("_xmlish") == "x" and root.findtext("Text") == "a]]>b<&>"
    assert b"<ErrorCode><![CDATA[0]]></ErrorCode>" in xml(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_xml_is_always_well_formed(body: dict[str, Any]) -> None:
    assert ElementTree.fromstring(xml(_no_surrogates(body))).tag == "response"


def _no_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode()
    if isinstance(value, dict):
        return {_no_surrogates(name): _no_surrogates(item) for name, item in value.items()}
    return [_no_surrogates(item) for item in value] if isinstance(value, list) else value


def test_callback_escapes_what_ends_a_line_of_script() -> None:
    text, kind = render({"a": "\u2028\u2029"}, {"jsonpcallback": True, "callback": "f"})
    assert kind.startswith("application/javascript")
    assert text == b'f({"a":"\\u2028\\u2029"})'


def test_json_keeps_every_character() -> None:
    text, _ = render({"a": "ü\u2028\x00"}, {})
    assert orjson.loads(text) == {"a": "ü\u2028\x00"}
