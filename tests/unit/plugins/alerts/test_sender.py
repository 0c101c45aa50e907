"""What the sender makes of a text and of an address."""

from __future__ import annotations

import subprocess
import sys

import pytest

from herald.plugins.alerts.sender import disarmed, protect_address
from herald.utils.redaction import redact

UNSEEN = "\u200b"


@pytest.mark.parametrize(
    ("text", "form", "shown"),
    [
        ("plain order_unknown 0.5*2", "text", "plain order_unknown 0.5*2"),
        ("@everyone", "text", f"@{UNSEEN}everyone"),
        ("<!channel> a < b", "text", f"<{UNSEEN}!channel> a < b"),
        ("see http://evil.example/x", "text", f"see http:{UNSEEN}//evil.example/x"),
        ("<b>&", "html", f"&lt;{UNSEEN}b&gt;&amp;"),
        ("a_b *c* [x](y) `z`", "markdown", r"a\_b \*c\* \[x\](y) \`z\`"),
    ],
)
def test_a_text_is_shown_and_does_nothing_else(text: str, form: str, shown: str) -> None:
    assert shown == disarmed(text, form)


def test_what_apprise_does_not_show_of_an_address_nobody_sees() -> None:
    address = "tgram://987654321:AAbbCCddEEffGGhhIIjj/11223344/"
    protect_address(address, "tgram://9...j/11223344/?format=html")

    said = redact(f"{address} failed: /bot987654321:AAbbCCddEEffGGhhIIjj/send, chat 11223344")

    assert "AAbbCCddEEffGGhhIIjj" not in said
    assert "chat 11223344" in said


def test_the_run_imports_nothing_that_sends() -> None:
    code = "import sys, herald.plugins.alerts, herald.plugins.alerts.service as s; print(sorted({'apprise', 'requests', 'http.client'} & set(sys.modules)))"

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "[]" == output.strip()
