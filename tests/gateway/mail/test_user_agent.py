"""What user agents of mail clients, browsers and proxies say."""

from __future__ import annotations

import pytest

from gateway.mail import user_agent

_KIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0"


@pytest.mark.parametrize(
    ("text", "device", "kind", "client"),
    [
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17 like Mac OS X) {_KIT} Mobile/15", "iPhone", "mobile", "Apple Mail"),
        (f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {_KIT} Mobile/15E148", "iPad", "tablet", "Apple Mail"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_KIT}", "Mac", "desktop", "Apple Mail"),
        (
            "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E;"
            " Microsoft Outlook 16.0.17328; ms-office; MSOffice 16)",
            "PC", "desktop", "Outlook",
        ),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_KIT} MacOutlook/16.83.24031120",
            "Mac", "desktop", "Outlook for Mac",
        ),
        ("Outlook-iOS/709.2189947.prod.iphone (3.24.0)", "iPhone", "mobile", "Outlook for iOS"),
        ("Outlook-Android/2.0", "Generic Smartphone", "mobile", "Outlook for Android"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Thunderbird/115.8", "PC", "desktop", "Thunderbird"),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-S908B Build/TP1A; wv) {_CHROME} Mobile Safari/5 SamsungEmail/6.1.90",
            "Samsung SM-S908B", "mobile", "Samsung Email",
        ),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36", "PC", "desktop", "Chrome"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_CHROME} Mobile Safari/5", "Pixel 8", "mobile", "Chrome Mobile"),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {_CHROME} Safari/537.36", "Samsung SM-X906C", "tablet", "Chrome"),
        # A proxy hides whose device it is.
        ("Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "", "", "Gmail"),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "", "", "Yahoo Mail"),
        ("Mozilla/5.0", "", "", ""),
        ("", "", "", ""),
        ("\ud83d\ude00" * 100, "", "", ""),
    ],
)  # fmt: skip
def test_device_kind_and_client(text: str, device: str, kind: str, client: str) -> None:
    found = user_agent.read(text, is_open=True)
    assert (found.device, found.kind, found.client) == (device, kind, client)


def test_what_is_clicked_in_an_app_is_no_mail_client() -> None:
    text = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {_KIT} Mobile/15E148"
    assert user_agent.read(text, is_open=False).client == "in-app browser"


def test_nothing_is_longer_than_what_is_kept() -> None:
    for text in ("x" * 5000, "Mozilla/5.0 (" + "a;" * 2000 + ")", "A/1 " * 1000):
        found = user_agent.read(text[:512], is_open=True)
        assert max(map(len, (found.device, found.kind, found.client))) <= 64
