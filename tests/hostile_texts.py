"""Texts that try to leave the place they are put in: line breaks, encoded words, quotes, odd characters."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = (
    "plain",
    "Ünïcödé ✓ 日本語 🎉",
    "a\r\nBcc: victim@example.net",
    "a\nBcc: victim@example.net",
    "a\rBcc: victim@example.net",
    "a\r\n\r\n<html>body",
    "a\r\n\tfolded",
    "\r\n\r\n",
    "nul\0byte",
    "\u2028Bcc: x@example.net\u2029\x85Bcc: y@example.net\x0b\x0c\x1c\x1d\x1e",
    "=?utf-8?q?=0D=0ABcc:_x@example.net?=",
    "=?utf-8?b?DQpCY2M6IHhAZXhhbXBsZS5uZXQ=?= =?us-ascii?q?x?=",
    "=?broken?x?=",
    '"quoted" \\backslash\\ "',
    "<angle@example.com>, other@example.com; (comment)",
    "a" * 2000,
    "word " * 300,
    "é" * 700,
    "日本語テキスト" * 100,
    "  two  spaces  and\ttabs\t ",
    "rtl \u202etxt.exe\u202c",
    "combining e\u0301\u0301 zero\u200bwidth\ufeff",
    "a" * 997 + " " + "b" * 999,
    "%0d%0aBcc: x",
    "surrogate \ud800 half",
    ".\r\n.",
    "From here",
    " ",
    "",
)

texts = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=200),
    st.text(st.sampled_from('ab \t\r\n\0=?"\\<>,;:@é日🎉\u2028.'), max_size=120),
)
