"""Reading printed curl command lines as curl does."""

from __future__ import annotations

import pytest

from tests.contract import curl


def test_data_without_a_type_is_a_form_even_if_it_is_json() -> None:
    request = curl.read(
        """curl -X DELETE "https://h.test/api/v1/x" \\\n-H "Authorization: Bearer k" \\\n-d '{"A":"1"}'"""
    )
    assert (request.method, request.path, request.body) == ("DELETE", "/api/v1/x", '{"A":"1"}')
    assert request.headers == {"Authorization": "Bearer k", "Content-Type": curl.FORM}
    assert request.parameters == {"A": "1"}


def test_data_is_joined_and_makes_a_post() -> None:
    request = curl.read("curl https://h.test/api.php?q=1 -d 'A=1' -d 'B=x y'")
    assert (request.method, request.path, request.body) == ("POST", "/api.php?q=1", "A=1&B=x y")
    assert request.parameters == {"q": "1", "A": "1", "B": "x y"}


def test_line_ends_inside_quotes_stay() -> None:
    request = curl.read("curl -X POST https://h.test \\\n-H 'Content-Type: application/json' \\\n-d '{\n\"A\": 1\n}'")
    assert (request.path, request.body) == ("/", '{\n"A": 1\n}')


@pytest.mark.parametrize(
    "line", ["wget https://h.test", "curl -F a=b https://h.test", "curl -X", "curl -H x https://h"]
)
def test_what_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"curl|understood|value|header"):
        curl.read(line)
