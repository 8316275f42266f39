"""Every form finds what it is for, and passes over what only looks like it.

No secret stands here whole: those that are found are drawn, or put together from pieces.
"""

from __future__ import annotations

import random
import string
import sysconfig
from itertools import pairwise
from pathlib import Path

import pytest

from flywheel.curate import secrets
from flywheel.curate.forms import FORMS, entropy, luhn
from flywheel.curate.secrets import findings, masked, screened

HEX = "0123456789abcdef"
WORD = string.ascii_letters + string.digits


def drawn(size: int, alphabet: str = WORD) -> str:
    draw = random.Random(size)
    return "".join(draw.choice(alphabet) for _ in range(size))


UPPER = drawn(16, string.ascii_uppercase + "234567")
PEM = "-----BEGIN RSA PRIVATE {}-----\\n{}\\n-----END RSA PRIVATE {}-----"
JWT = f"eyJ{drawn(20)}.eyJ{drawn(40)}.{drawn(43)}"
SAID = drawn(20)

EXAMPLES: dict[str, tuple[str, str]] = {
    "aws-access-key": (f"AKIA{UPPER}", f"AKIA{UPPER[1:]}"),
    "github-token": (f"ghp_{drawn(36)}", f"ghp_{drawn(30)}"),
    "github-fine-grained-token": (f"github_pat_{drawn(22)}_{drawn(59)}", "github_pat_one_two"),
    "gitlab-token": (f"glpat-{drawn(20)}", "glpat-short"),
    "slack-token": (f"xoxb-123412341234-{drawn(24)}", "xoxb-token-of-the-bot"),
    "slack-app-token": (f"xapp-1-A0{UPPER}-1234-{drawn(64, HEX)}", "xapp-1-A0-12-cafe"),
    "slack-webhook": (
        f"https://hooks.slack.com/services/T{UPPER[:8]}/B{UPPER[8:]}/{drawn(24)}",
        "https://hooks.slack.com/services/",
    ),
    "stripe-key": (f"sk_live_{drawn(24)}", "sk_live_key"),
    "stripe-webhook-secret": (f"whsec_{drawn(32)}", "whsec_header"),
    "openai-key": (f"sk-proj-{drawn(60)}", f"task-{drawn(48)}"),
    "anthropic-key": (f"sk-ant-api03-{drawn(80)}", "sk-ant-api03"),
    "openrouter-key": (f"sk-or-v1-{drawn(64, HEX)}", "sk-or-v1-key"),
    "google-api-key": (f"AIza{drawn(35)}", f"AIza{drawn(20)}"),
    "google-oauth-secret": (f"GOCSPX-{drawn(28)}", "GOCSPX-secret"),
    "google-oauth-token": (f"ya29.{drawn(60)}", "ya29.token"),
    "hugging-face-token": (f"hf_{drawn(34)}", "hf_hub_download_of_a_whole_repository_x"),
    "npm-token": (f"npm_{drawn(36)}", "npm_config_user_agent"),
    "pypi-token": (f"pypi-AgEIcHlwaS5vcmc{drawn(60)}", "pypi-AgE"),
    "rubygems-key": (f"rubygems_{drawn(48, HEX)}", "rubygems_version"),
    "sendgrid-key": (f"SG.{drawn(22)}.{drawn(43)}", "MSG.send.all"),
    "twilio-key": (f"SK{drawn(32, HEX)}", f"DISK{drawn(32, HEX)}"),
    "mailgun-key": (f"key-{drawn(32, HEX)}", f"monkey-{drawn(32, HEX)}"),
    "mailchimp-key": (f"{drawn(32, HEX)}-us12", f"{drawn(40, HEX)}-us1"),
    "square-token": (f"sq0atp-{drawn(22)}", "sq0atp-token"),
    "shopify-token": (f"shpat_{drawn(32, HEX)}", "shpat_token"),
    "digitalocean-token": (f"dop_v1_{drawn(64, HEX)}", "dop_v1_token"),
    "telegram-bot-token": (f"4839574812:AA{drawn(33)}", "4839574812:AAA"),
    "discord-webhook": (
        f"https://discord.com/api/webhooks/103948571203948571/{drawn(68)}",
        "https://discord.com/api/webhooks/103948571203948571/token",
    ),
    "databricks-token": (f"dapi{drawn(32, HEX)}", "dapi-token"),
    "azure-storage-key": (f"AccountKey={drawn(86)}==", "AccountKey=key"),
    "linear-key": (f"lin_api_{drawn(40)}", "lin_api_key"),
    "notion-token": (f"ntn_{drawn(46)}", "ntn_token"),
    "airtable-token": (f"pat{drawn(14)}.{drawn(64, HEX)}", "pattern_to_find.compile"),
    "new-relic-key": (f"NRAK-{drawn(27, string.ascii_uppercase)}", "NRAK-KEY"),
    "sentry-token": (f"sntrys_{drawn(80)}", "sntrys_token"),
    "grafana-token": (f"glsa_{drawn(32)}_{drawn(8, HEX)}", "glsa_token"),
    "vault-token": (f"hvs.{drawn(24)}", "hvs.read"),
    "terraform-token": (f"{drawn(14)}.atlasv1.{drawn(67)}", "terraform.atlasv1.token"),
    "docker-token": (f"dckr_pat_{drawn(27)}", "dckr_pat_token"),
    "groq-key": (f"gsk_{drawn(52)}", "gsk_key"),
    "xai-key": (f"xai-{drawn(80)}", "xai-key"),
    "replicate-token": (f"r8_{drawn(37)}", f"ptr8_{drawn(37)}"),
    "perplexity-key": (f"pplx-{drawn(48)}", "pplx-7b-online"),
    "atlassian-token": (f"ATATT3{drawn(186)}", f"ATATT3{drawn(20)}"),
    "postman-key": (f"PMAK-{drawn(24, HEX)}-{drawn(34, HEX)}", "PMAK-key"),
    "supabase-token": (f"sbp_{drawn(40, HEX)}", f"dsbp_{drawn(40, HEX)}"),
    "age-key": (f"AGE-SECRET-KEY-1{drawn(58, string.ascii_uppercase)}", "AGE-SECRET-KEY-1"),
    "private-key": (PEM.format("KEY", drawn(64), "KEY"), '"-----BEGIN RSA PRIVATE KEY-----"'),
    "json-web-token": (JWT, f"eyJ{drawn(20)}.eyJ"),
    "connection-string": (
        f"postgres://shop:{SAID}@db.shop-of-mine.net:5432/orders",
        "https://docs.python.org:443/3/library/@types",
    ),
    "authorization-header": (
        f'headers={{"Authorization": "Bearer {drawn(32)}"}}',
        'headers={"Authorization": "Bearer of-all-good-tidings"}',
    ),
    "password": ("password = 'tr0ub4dor&3k'", "password = 'swordfish'"),
    "token": (f'config["api_key"] = "{drawn(32)}"', 'token_type = "oauth2-access-token"'),
    "environment": (f"ACCESS_TOKEN={drawn(32)} make", "ACCESS_TOKEN=read_from_a_file2"),
    "email": ("Written by Jane <jane.keeper@lighthouse-keepers.org>", "return x@self.weight"),
    "ipv4": ("from 81.2.69.142 at noon", 'version = "81.2.69.142"'),
    "ipv6": ("from 2a02:8108:50bf:c694::1 at noon", "values[2000:3000:5]"),
    "phone": ("call +49 30 901820 11 now", "x = +1234567890"),
    "payment-card": ("4539 1488 0343 6467", "4539 1488 0343 6468"),
    "social-security-number": ("SSN: 536-90-4399", "range 536-90-4399"),
    "bank-account": ("GB26 BUKB 2020 1847 3629 15", "GB27 BUKB 2020 1847 3629 15"),
}


def test_every_form_has_its_examples() -> None:
    assert [form.name for form in FORMS] == list(EXAMPLES)


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_form_finds_what_it_is_for_and_nothing_else_does(rule: str) -> None:
    found = findings(EXAMPLES[rule][0])
    assert [(one.rule, one.placeholder) for one in found] == [(rule, False)]


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_form_passes_over_what_only_looks_like_it(rule: str) -> None:
    assert findings(EXAMPLES[rule][1]) == ()


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_finding_is_where_it_is_and_shows_no_more_than_its_beginning(rule: str) -> None:
    text, (alone,) = EXAMPLES[rule][0], findings(EXAMPLES[rule][0])
    (found,) = findings(f"# {text}\n")
    assert (found.start, found.end) == (alone.start + 2, alone.end + 2)
    secret = text[alone.start : alone.end]
    assert found.excerpt == masked(secret)
    assert secret[4:] not in found.excerpt


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("phone", "(212) 736-5032"),
        ("phone", "call 212-736-5032 now"),
        ("phone", "phone = '+4930901820'"),
        ("payment-card", "pan = '4539148803436467'"),
        ("payment-card", "3714-496353-98464"),
        ("bank-account", "GB26BUKB20201847362915"),
        ("stripe-key", f"rk_test_{drawn(24)}"),
        ("openai-key", f"sk-{drawn(48)}"),
        ("slack-token", f"xoxp-1234-1234-1234-{drawn(32, HEX)}"),
        ("password", "connect(db_passwd='tr0ub4dor&3k')"),
        ("password", 'environ["PASSWORD"] = "tr0ub4dor&3k"'),
        ("token", f'os.environ.setdefault("CLIENT_SECRET", "{drawn(32)}")'),
        ("token", f"auth_token: str = r'{drawn(32)}'"),
    ],
)
def test_another_way_of_writing_it_is_found_too(rule: str, text: str) -> None:
    assert [(one.rule, one.placeholder) for one in findings(text)] == [(rule, False)]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("aws-access-key", "AKIAIOSFODNN7EXAMPLE"),
        ("token", "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'"),
        ("github-token", "ghp_" + "x" * 36),
        ("github-token", "ghp_" + "1234567890" * 4),
        ("stripe-key", "sk_test_" + "your0key0goes0here"),
        ("token", 'token = "${GITHUB_TOKEN_1}"'),
        ("password", 'password = "<my-password-1>"'),
        ("password", 'password="test1234"'),
        ("connection-string", "postgres://postgres:postgres@localhost:5432/db"),
        ("connection-string", "amqp://guest:guest@rabbit.internal.net/"),
        ("connection-string", "redis://:${PASSWORD}@cache.shop.net"),
        ("email", "someone@example.com"),
        ("email", "jane.smith@mail.test"),
        ("email", "git@github.com:python/cpython.git"),
        ("email", "12+someone@users.noreply.github.com"),
        ("email", "noreply@lighthouse-keepers.org"),
        ("ipv4", "192.0.2.17"),
        ("ipv4", "203.0.113.5"),
        ("ipv4", "1.2.3.4"),
        ("ipv4", "8.8.8.8"),
        ("ipv4", "81.2.69.0/24"),
        ("ipv4", "object 2.5.29.15"),
        ("ipv6", "2001:db8::1:2"),
        ("phone", "(212) 555-0143"),
        ("phone", "123: 323-555-0100"),
        ("payment-card", "4111 1111 1111 1111"),
        ("payment-card", "'4242424242424242'"),
        ("social-security-number", "ssn = '078-05-1120'"),
        ("bank-account", "DE89370400440532013000"),
    ],
)
def test_what_stands_in_for_a_secret_is_told_apart(rule: str, text: str) -> None:
    assert [(one.rule, one.placeholder) for one in findings(text)] == [(rule, True)]


@pytest.mark.parametrize(
    "text",
    [
        'assert digest == "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        'token_hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        "requests==81.2.69.142",
        "Mozilla/5.0 Chrome/91.0.44.124",
        "127.0.0.1 10.1.2.30 192.168.4.20 172.16.5.4 255.255.255.0 0.0.0.0 239.1.2.3",
        "999.1.1.1 and 1.2.3.4.5 and ::1 and fe80::1 and 12:30:45",
        "https://user@lighthouse-keepers.org/path",
        "y = left@right.to(device)",
        "@property\n@app.route('/')\ndef f(a, b): return a@b.T",
        "table = [200, 300, 4000]  # 555 666 7777",
        "@@\n+49 30 901820 11 0\n+12 3456 7890",
        "4111111111111111 and 0.4111111111111111",
        "uuid = '123e4567-e89b-12d3-a456-426614174000'",
        "password: str = field(default='')",
        "def login(user, password=None, token='token'): ...",
        'password_hash = "pbkdf2$1000$abc1def2"',
        "raise ValueError('secret', 'the secret must be 16 bytes')",
        'TOKEN_URL = "https://login.of-a-vendor.org/oauth2/v2.0/token"',
        "SECRET_KEY=os.environ",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "",
    ],
)
def test_code_is_not_taken_for_a_secret(text: str) -> None:
    assert findings(text) == ()


def test_a_key_that_has_a_form_and_a_name_is_found_once_and_by_its_form() -> None:
    (found,) = findings(f'github_token = "ghp_{drawn(36)}"')
    assert (found.rule, found.kind) == ("github-token", "key")


def test_a_key_is_found_after_an_escape_and_through_lines_of_a_string() -> None:
    (found,) = findings(rf"'out\nghp_{drawn(36)}\n'")
    assert found.rule == "github-token"
    lines = "\n".join(f'    "{drawn(64)}\\n"' for _ in range(4))
    (found,) = findings(f'KEY = """-----BEGIN PRIVATE KEY-----\\n"\n{lines}\n"')
    assert found.rule == "private-key"


def test_many_texts_are_screened_as_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "AT_ONCE", 7)
    texts = [text for pair in EXAMPLES.values() for text in (*pair, "return 1", "")]
    texts.append("\n".join(texts))
    found = screened(texts)
    assert found == {n: one for n, text in enumerate(texts) if (one := findings(text))}
    assert len(found) == len(EXAMPLES) + 1
    assert screened([]) == {}


def test_several_findings_come_in_their_order_and_never_overlap() -> None:
    text = "\n".join(positive for positive, _ in EXAMPLES.values())
    found = findings(text)
    assert all(one.end <= other.start for one, other in pairwise(found))
    assert {one.rule for one in found} == set(EXAMPLES)


def test_the_standard_library_holds_no_keys_and_no_person_but_its_authors() -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(folder.glob("*.py")), *sorted(folder.glob("[a-z]*/*.py"))]
    some = [path for path in files if "site-packages" not in path.parts][:300]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in some]
    found = [one for each in screened(texts).values() for one in each if not one.placeholder]
    assert [one for one in found if one.kind == "key"] == []
    assert {one.rule for one in found} <= {"email", "ipv4"}
    assert 0 < len(found) < len(some) / 2


def test_what_is_shown_of_a_secret_is_little() -> None:
    assert masked("abcdefghijklmnopqrst") == "abcd… (20 characters)"
    assert masked("abc") == "… (3 characters)"


def test_entropy_is_the_bits_of_a_character() -> None:
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2
    assert entropy(HEX) == 4


@pytest.mark.parametrize(("digits", "right"), [("79927398713", True), ("79927398710", False)])
def test_the_last_digit_of_a_card_is_its_check(digits: str, right: bool) -> None:
    assert luhn(digits) is right
