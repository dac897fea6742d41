"""Tenants' templates: what they say, and that nothing they say costs more than its limits."""

from __future__ import annotations

import time

import pytest

from gateway.errors import InvalidTemplate
from gateway.mail import merge

GROW = "{% assign a = 'aaaaaaaaaa' %}" + "{% assign a = a | append: a %}" * 14


def render(source: str, html: bool = True, **variables: object) -> str:
    return merge.render(source, variables, html=html)


def test_merge_fields_and_the_language() -> None:
    assert render("Hi {{firstName}}!", firstName="Zoë") == "Hi Zoë!"
    assert render("{{ a.b[0] | upcase }}", a={"b": ["x"]}) == "X"
    assert render("{% for i in items %}{{ forloop.index }}{{ i }} {% endfor %}", items=["a", "b"]) == "1a 2b "
    assert render("{% if vip %}gold{% else %}plain{% endif %}", vip=False) == "plain"


def test_a_variable_that_is_absent_is_empty_and_may_have_a_default() -> None:
    assert render("Hi {{ name }}.{{ name | default: 'friend' }}") == "Hi .friend"


def test_html_is_escaped_and_text_is_not() -> None:
    assert render("{{ x }}", x="<b>&") == "&lt;b&gt;&amp;"
    assert render("{{ x | upcase }}", x="<b>") == "&lt;B&gt;"
    assert render("{{ x | safe }}", x="<b>") == "<b>"
    assert render("{{ x }}", html=False, x="<b>&") == "<b>&"


def test_a_text_without_tags_is_as_it_was_whatever_its_size() -> None:
    text = "{ % } }" * 200_000
    assert render(text) is text


def test_the_names_it_reads() -> None:
    source = "{{ b }}{% assign own = 1 %}{{ own }}{% for i in a %}{{ i.x }}{% endfor %}"
    assert merge.compile_(source, html=True).variables() == ["a", "b"]


def test_a_template_is_parsed_once() -> None:
    assert merge.compile_("Hello {{ once }}", html=True) is merge.compile_("Hello {{ once }}", html=True)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("one\n{{ a", "line 2: }} is missing"),
        ("{% if %}x", "missing expression"),
        ("{% if a %}x", "end"),
        ("{% raw %}x", "endraw is missing"),
        ("{% nothing %}", "unexpected tag 'nothing'"),
        ("{% include 'x' %}", "unexpected tag 'include'"),
        ("{% render '/etc/passwd' %}", "unexpected tag 'render'"),
        ("{{ a | nothing }}", "unknown filter 'nothing'"),
        ("{{ 1 | divided_by: 0 }}", "can't divide by 0"),
        ("{{ 'inf' | floor }}", "does not fit"),
    ],
)
def test_an_error_says_what_is_wrong(source: str, says: str) -> None:
    with pytest.raises(InvalidTemplate, match=says):
        render(source, a=1)


EXPLOSIONS = {
    "range": "{% for i in (1..1000000000) reversed %}{% endfor %}",
    "range searched": "{% if (1..1000000000000) contains 'a' %}x{% endif %}",
    "loops in loops": "{% for i in (1..1000) %}{% for j in (1..1000) %}x{% endfor %}{% endfor %}",
    "loops in a row": "{% for i in (1..9999) %}{% endfor %}" * 500,
    "steps": "{% for i in (1..9999) %}" + "{% if true %}{% endif %}" * 2000 + "{% endfor %}",
    "time": GROW + "{% for i in (1..9999) %}{% assign b = a | upcase | downcase | escape | url_encode %}{% endfor %}",
    "output": "{% for i in (1..9999) %}" + "x" * 1000 + "{% endfor %}",
    "capture": "{% capture a %}" + "x" * 9000 + "{% endcapture %}{% capture a %}{{a}}{{a}}{% endcapture %}" * 30,
    "append": GROW + "{% assign a = a | append: a %}" * 40,
    "replace": GROW + "{{ a | replace: 'a', a }}",
    "replace nothing": GROW + "{{ a | replace: '', a }}",
    "join": "{{ (1..9999) | join: '" + "x" * 9000 + "' }}",
    "split": GROW + "{{ a | split: '' }}",
    "concat": GROW + "{% assign b = a | split: ',' %}" + "{% assign b = b | concat: b %}" * 30 + "{{ b }}",
    "numbers": "{% assign a = 99999999 %}" + "{% assign a = a | times: a %}" * 60 + "{{ a }}",
    "depth": "{% if true %}" * 50 + "{% endif %}" * 50,
    "open": "{{" * 100_000,
    "open tags": "{%" * 100_000,
    "raw": "{% raw %}" * 20_000,
    "gap": "{{" + " " * 200_000 + "}}",
    "long": "{% if " + "a or " * 20_000 + "b %}x{% endif %}",
    "many": "{{a}}" * (merge.TAGS_MOST + 1),
    "comments": "{% comment %}" * 20_000,
    "size": "{{ a }}" + "x" * merge.SOURCE_MOST,
}


@pytest.mark.parametrize("source", EXPLOSIONS.values(), ids=EXPLOSIONS)
def test_what_explodes_is_stopped(source: str) -> None:
    began = time.thread_time()
    with pytest.raises(InvalidTemplate):
        render(source, a="x")
    assert time.thread_time() - began < 3 * merge.CPU_SECONDS


def test_objects_show_nothing_of_python() -> None:
    assert render("{{ x.__class__ }}{{ x['__class__'] }}{{ x.upper }}", x="text") == ""
