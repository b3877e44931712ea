"""Secrets are left out of texts by their shapes; what is none stays."""

from __future__ import annotations

import json
import secrets
import uuid
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from vncproxy.redaction import HIDDEN, shown_path, shown_segment, without_secrets, without_tokens

_TOKEN = "6f1c2d3e-4b5a-4c6d-8e7f-0123456789ab"
_OURS = "vnc_" + secrets.token_urlsafe(32)
_FERNET = "gAAAAABn" + "x" * 180 + "=="


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


class SecretsTests(SynchronousTestCase):
    def test_what_is_one_for_certain(self) -> None:
        """By its form, by what it is called, or by where the API has tokens."""
        for text in (
            *(f"Header {_OURS}!", f"'{_FERNET}'", f"GET /x?a=b&token={_TOKEN}&c=d"),
            *(f"path=%3Ftoken%3D{_TOKEN}", f"%253Ftoken%253D{_TOKEN}", f"TOKEN={_TOKEN}"),
            *(f"X-Auth-Token: {_TOKEN}", f"{{'x-subject-token': '{_TOKEN}'}}"),
            *(f"/v2.1/os-console-auth-tokens/{_TOKEN}", f"OS-Console-Auth-Tokens%2f{_TOKEN}"),
            *(f"qemu+tcp://root:{_TOKEN}@host/system", f"http://:{_TOKEN}@host:5000/v3"),
            *(f"ssl_ca=/ca.pem&password={_TOKEN}&x=y", f"mysql://host/db?PASSWD={_TOKEN}"),
            *(f"os-console-auth-tokens%252F{_TOKEN}", f"os-console-auth-tokens//{_TOKEN}/x"),
        ):
            shown = without_secrets(text)
            for secret in (_TOKEN, _OURS, _FERNET, _TOKEN[9:]):
                self.assertNotIn(secret, shown, text)
            self.assertIn("***", shown)

    def test_lines_of_json(self) -> None:
        """Are lines of JSON without the secrets too, whatever stands behind one."""
        for secret in (_TOKEN, _OURS, _FERNET):
            for text in (
                *(f"X-Auth-Token: {secret}", f'{{"X-Auth-Token": "{secret}"}}', f"token={secret}"),
                *(f'"token={secret}"', f"/os-console-auth-tokens/{secret}", f"token={secret}\n"),
            ):
                shown = without_secrets(json.dumps({"message": text, "next": [text]}))
                self.assertNotIn(secret, shown)
                self.assertEqual(list(json.loads(shown)), ["message", "next"])

    def test_what_is_none(self) -> None:
        """Stays: servers' ids, requests' and tokens' ids, files of noVNC's."""
        for text in (
            f"novnc of web ({_TOKEN}), token 83a19698e2e0 until 1795570484",
            *(f"req-{_TOKEN} root: GET /os-console-auth-tokens/83a19698e2e0: 200", "vnc_auto.html"),
            *("no token was sent", "http://127.0.0.1:6080/@x", "https://[::1]:6080, a@b"),
        ):
            self.assertEqual(without_secrets(text), text)

    def test_what_may_be_one(self) -> None:
        """A UUID, in each of its forms, is shortened; a request's name and a hash stay."""
        for form in (
            *(_TOKEN, _TOKEN.upper(), _TOKEN.replace("-", ""), f"<{_TOKEN}>", f"%2F{_TOKEN}"),
            *(f"{_TOKEN}a", f"a{_TOKEN}"),
        ):
            shown = without_tokens(f"no server {form!r}")
            self.assertNotIn("456789AB", shown.upper())
            self.assertIn("6F1C2D3E-***", shown.upper())
        for text in (f"see req-{_TOKEN}", "a" * 64, "no server 'web-1'"):
            self.assertEqual(without_tokens(text), text)


class PathTests(SynchronousTestCase):
    def test_tokens(self) -> None:
        """However they are written, and however often they are encoded."""
        token = str(uuid.uuid4())
        for secret in (token, token.upper(), token.replace("-", ""), _OURS):
            for often in (0, 1, 2, 3, 4, 9):
                written = secret
                for _ in range(often):
                    written = _encoded(written) if often < 5 else quote(written.replace("-", "%2D"))
                for path in (f"/{written}", f"/console/{written}/x", f"/vnc.html;{written}"):
                    shown = shown_path(path.encode())
                    self.assertNotIn(secret[12:].lower(), shown.lower())
                    self.assertNotIn(_encoded(secret[12:]), shown)
                    self.assertIn("***", shown)

    def test_others(self) -> None:
        """Stay as they came, but for what would break a line."""
        for path in ("/", "/vnc_lite.html", "/a%20b/c", "/app/images/icons/novnc-16x16.png"):
            self.assertEqual(shown_path(path.encode()), path)
        self.assertEqual(shown_path(b"/\xff\r\n"), "/" + quote("\ufffd") + "%0D%0A")
        self.assertEqual(shown_segment("a\u2028b"), quote("a\u2028b"))

    def test_a_long_one(self) -> None:
        """Is not shown at all: to look through it would take long."""
        self.assertEqual(shown_path(b"/" + b"%2525" * 12_000), HIDDEN)
