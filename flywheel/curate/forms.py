"""The forms of what must not be published: vendors' keys, passwords, and marks of a person.

Each form is data: a sign that every find holds, by which most texts are passed over; a pattern; and
a judge that tells a find from what only looks like one, and from a placeholder. The forms of keys
are those that their vendors document.

A password that is a plain word is not known for one, nor is a key that has no form and that no name
betrays: entropy alone makes nothing a secret, for code is full of digests.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from itertools import pairwise
from typing import Literal

Kind = Literal["key", "personal"]
"""What opens a door, or what belongs to a person."""

Judgement = Literal["no", "placeholder", "yes"]
"""What a match is: nothing, an example that stands for one, or one."""

_Judge = Callable[[re.Match[str]], Judgement]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a secret."""

    name: str
    """Rule that a finding names."""
    kind: Kind
    """What it is."""
    sign: str
    """Expression of what every find holds, in the syntax that Python and polars share; it names
    ASCII's letters and digits, for those of Unicode take polars twice the time."""
    pattern: re.Pattern[str]
    """The find; what is secret of it is the group `secret`, or all where there is none."""
    judge: _Judge
    """Tells what a match is."""


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern that knows no letters and digits but ASCII's, as the signs do."""
    return re.compile(pattern, re.ASCII)


def secret_group(found: re.Match[str]) -> int | str:
    """The group of a match that is secret."""
    return "secret" if "secret" in found.re.groupindex else 0


def entropy(text: str) -> float:
    """Bits a character, by how often each comes in the text itself. Source: Shannon (1948)."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


# --- keys ----------------------------------------------------------------------------------

_STAND_INS = re.compile(
    r"example|sample|dummy|fake|placeholder|your|change_?-?me|insert|replace|redacted|todo|mock"
    r"|xxxx|\.\.\.|…|\*\*\*|\$\{|\{\{|\$\(|<[^>]+>|%\(|%s|\{[A-Za-z_][\w.]*\}|^\$\w+$|^\[.*\]$|#\{",
    re.IGNORECASE,
)
"""What people write where a key belongs."""
_TRIED = re.compile(
    r"test|pass(?:word|wd)?|secret|hunter|qwerty|letmein|admin|foo|bar|abc|123", re.IGNORECASE
)
"""What they write where any password will do."""
_FEW = 4
"""Different characters of a key that nobody drew by chance."""
_ROW = 6
"""Characters, equal or each the next of the last, that nobody drew by chance."""


def stands_in(value: str) -> bool:
    """Whether a value only shows where a key belongs."""
    return (
        bool(_STAND_INS.search(value))
        or len(set(value.lower())) <= _FEW
        or _longest_row(value.lower(), 0) >= _ROW
        or _longest_row(value.lower(), 1) >= _ROW
    )


def _longest_row(value: str, step: int) -> int:
    """Characters of the longest row in which each is `step` after the last."""
    longest = row = 1
    for one, other in pairwise(value):
        row = row + 1 if ord(other) - ord(one) == step else 1
        longest = max(longest, row)
    return longest


def _key(least: float) -> _Judge:
    """Judges keys of a vendor's form, that have so many bits a character at the least."""

    def judge(found: re.Match[str]) -> Judgement:
        value = found[secret_group(found)]
        if stands_in(value):
            return "placeholder"
        return "yes" if entropy(value) >= least else "no"

    return judge


_EDGE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
"""Where a word begins, be it after an escape."""
_END = r"(?![A-Za-z0-9])"


def _vendor(name: str, sign: str, body: str, least: float = 0.0) -> Form:
    """A key that begins with its sign and goes on with its body."""
    return Form(name, "key", sign, _compiled(f"{_EDGE}(?:{sign}){body}{_END}"), _key(least))


_VENDORS = (
    _vendor("aws-access-key", "AKIA|ASIA|ABIA|ACCA", r"[A-Z2-7]{16}", 2.5),
    _vendor("github-token", "gh[pousr]_", r"[A-Za-z0-9]{36,255}"),
    _vendor("github-fine-grained-token", "github_pat_", r"[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _vendor("gitlab-token", r"gl(?:pat|dt|rt|ptt|cbt|ft|soat)-", r"[\w-]{20,}"),
    _vendor("slack-token", r"xox[abeoprs]-", r"(?:\d+-){1,3}[A-Za-z0-9-]{16,}"),
    _vendor("slack-app-token", "xapp-[0-9]-", r"[A-Z0-9]+-\d+-[a-z0-9]{32,}"),
    _vendor("slack-webhook", r"hooks\.slack\.com/", r"(?:services|workflows)/[\w/]{40,60}"),
    _vendor("stripe-key", "[sr]k_(?:live|test|prod)_", r"[A-Za-z0-9]{16,}", 3.0),
    _vendor("stripe-webhook-secret", "whsec_", r"[A-Za-z0-9+/]{32,}"),
    _vendor("openai-key", "sk-", r"(?:(?:proj|svcacct|admin)-[\w-]{40,}|[A-Za-z0-9]{48})", 3.5),
    _vendor("anthropic-key", "sk-ant-", r"[a-z]{2,8}\d\d-[\w-]{40,}"),
    _vendor("openrouter-key", "sk-or-v1-", r"[0-9a-f]{64}"),
    _vendor("google-api-key", "AIza", r"[\w-]{35}", 3.0),
    _vendor("google-oauth-secret", "GOCSPX-", r"[\w-]{28}"),
    _vendor("google-oauth-token", r"ya29\.", r"[\w-]{30,}"),
    _vendor("hugging-face-token", "hf_|api_org_", r"[A-Za-z0-9]{34}", 3.0),
    _vendor("npm-token", "npm_", r"[A-Za-z0-9]{36}", 3.0),
    _vendor("pypi-token", "pypi-AgE", r"[\w-]{50,}"),
    _vendor("rubygems-key", "rubygems_", r"[0-9a-f]{48}"),
    _vendor("sendgrid-key", r"SG\.", r"[\w-]{22}\.[\w-]{43}"),
    _vendor("twilio-key", "SK", r"[0-9a-f]{32}", 3.0),
    _vendor("mailgun-key", "key-", r"[0-9a-f]{32}", 3.0),
    _vendor("mailchimp-key", "[0-9a-f]{32}-us[0-9]", r"\d?", 3.0),
    _vendor("square-token", "sq0(?:atp|csp|idp)-", r"[\w-]{22,43}"),
    _vendor("shopify-token", "shp(?:at|ca|pa|ss)_", r"[0-9a-fA-F]{32}"),
    _vendor("digitalocean-token", "do[opr]_v1_", r"[0-9a-f]{64}"),
    _vendor("telegram-bot-token", "[0-9]{8,10}:AA", r"[\w-]{33}", 3.0),
    _vendor("discord-webhook", r"discord(?:app)?\.com/api/webhooks/", r"\d{17,20}/[\w-]{60,}"),
    _vendor("databricks-token", "dapi", r"[0-9a-f]{32}", 3.0),
    _vendor("azure-storage-key", "AccountKey=", r"[A-Za-z0-9+/]{86}==", 4.0),
    _vendor("linear-key", "lin_api_", r"[A-Za-z0-9]{40}"),
    _vendor("notion-token", "ntn_", r"[A-Za-z0-9]{40,}"),
    _vendor("airtable-token", r"pat[A-Za-z0-9]{14}\.", r"[0-9a-f]{64}"),
    _vendor("new-relic-key", "NRAK-", r"[A-Z0-9]{27}"),
    _vendor("sentry-token", "sntry[su]_", r"[\w+/=-]{60,}"),
    _vendor("grafana-token", "glsa_", r"[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    _vendor("vault-token", r"hv[sb]\.", r"[\w-]{24,}", 3.5),
    _vendor("terraform-token", r"[A-Za-z0-9]{14}\.atlasv1\.", r"[\w-]{60,}"),
    _vendor("docker-token", "dckr_pat_", r"[\w-]{27}"),
    _vendor("groq-key", "gsk_", r"[A-Za-z0-9]{52}"),
    _vendor("xai-key", "xai-", r"[A-Za-z0-9]{80}"),
    _vendor("replicate-token", "r8_", r"[A-Za-z0-9]{37}", 3.0),
    _vendor("perplexity-key", "pplx-", r"[A-Za-z0-9]{48}"),
    _vendor("atlassian-token", "ATATT3", r"[\w=-]{180,}"),
    _vendor("postman-key", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    _vendor("supabase-token", "sbp_", r"[0-9a-f]{40}"),
    _vendor("age-key", "AGE-SECRET-KEY-1", r"[0-9A-Z]{58}"),
)


def _jwt(found: re.Match[str]) -> Judgement:
    # John Doe's, of the standard's own site.
    known = "eyJzdWIiOiIxMjM0NTY3ODkwIi"
    return "placeholder" if stands_in(found[0]) or known in found[0] else "yes"


_NOT_SECRET = re.compile(r"hash|digest|checksum|md5|sha\d|public|finger|regex|pattern|prefix|name")
"""Of names that tell of a secret and hold none."""
_WORDS = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)\d{0,3}")
_LOCAL = re.compile(r"localhost|127\.\d+\.\d+\.\d+|0\.0\.0\.0|(?:.+\.)?(?:example|test)(?:\..+)?")


def _is_mixed(value: str) -> bool:
    return any(map(str.isalpha, value)) and any(map(str.isdigit, value))


def _is_words(value: str) -> bool:
    """Whether a value is words with signs between them, such as a name or a path."""
    pieces = re.split(r"[^A-Za-z0-9]+", value)
    return all(not piece or _WORDS.fullmatch(piece) for piece in pieces)


def _named(found: re.Match[str]) -> str:
    """The whole name that a value was given, in lower case."""
    begin = re.search(r"[\w.-]*\Z", found.string[max(0, found.start() - 40) : found.start()])
    return ((begin[0] if begin else "") + found["name"]).lower()


def _password(found: re.Match[str]) -> Judgement:
    value = found["secret"]
    if _NOT_SECRET.search(_named(found)) or not _is_mixed(value) or entropy(value) < 2.5:
        return "no"
    return "placeholder" if stands_in(value) or _TRIED.search(value) else "yes"


def _token(found: re.Match[str]) -> Judgement:
    return "no" if _NOT_SECRET.search(_named(found)) else _header(found)


def _header(found: re.Match[str]) -> Judgement:
    value = found["secret"]
    if not _is_mixed(value) or _is_words(value) or "://" in value:
        return "no"
    if stands_in(value) or re.search("test|secret", value, re.IGNORECASE):
        return "placeholder"
    return "yes" if entropy(value) >= 3.2 else "no"


def _connection(found: re.Match[str]) -> Judgement:
    user, value, host = found["user"], found["secret"], found["host"]
    tried = _TRIED.search(value) or value.lower() == user.lower() or value.lower() in _CUSTOMARY
    if stands_in(value) or tried or _LOCAL.fullmatch(host) or "." not in host:
        return "placeholder"
    return "yes"


_CUSTOMARY = frozenset({"pw", "pwd", "p", "user", "username", "guest", "root", "key", "token"})
"""Passwords of connections that are shown and not made."""

_PASSWORD_NAMES = "(?:passw(?:or)?d|passphrase|passcode|pwd)[a-z0-9_]{0,20}"
_TOKEN_NAMES = (
    "(?:secret|token|credential|(?:api|access|auth|private|account)[_-]?key)[a-z0-9_]{0,20}"
)
_ENVIRONMENT_NAMES = (
    "(?:PASSWORD|SECRET|TOKEN|(?:API|ACCESS|AUTH|PRIVATE|ACCOUNT)_?KEY)[A-Z0-9_]{0,20}"
)
_SET_TO = (
    r"[\"']?[\])]?[ \t]{0,3}(?::[ \t]{0,3}[a-z]+[ \t]{0,3})?"
    "(?:={1,3}|:=|=>|:|,)[ \t\n]{0,3}[rbfu]{0,2}"
)
"""What stands between a name and what it is given, a type among it."""


def _assigned(name: str, names: str, least: int, most: int, judge: _Judge) -> Form:
    """A quoted value, of so many characters, that such a name is given."""
    value = rf"[^ \t\n\"'\\]{{{least},{most}}}"
    return Form(
        name,
        "key",
        rf"(?i:{names}{_SET_TO}[\"'][^ \t\n\"'\\]{{{least}}})",
        _compiled(rf"(?i:(?P<name>{names}){_SET_TO}(?P<quote>[\"'])(?P<secret>{value})(?P=quote))"),
        judge,
    )


_OTHER_KEYS = (
    Form(
        "private-key",
        "key",
        "PRIVATE KEY",
        _compiled(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,400}?"
            r"(?P<secret>[A-Za-z0-9+/]{40,})"
            r"(?:[\s\S]{0,8000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
        _key(3.5),
    ),
    Form(
        "json-web-token",
        "key",
        r"eyJ[A-Za-z0-9_-]{8,}\.eyJ",
        _compiled(rf"{_EDGE}eyJ[\w-]{{8,}}\.eyJ[\w-]{{8,}}\.[\w-]{{16,}}"),
        _jwt,
    ),
    Form(
        "connection-string",
        "key",
        r"://[^ \n/@]{0,60}:[^ \n@]{1,100}@",
        _compiled(
            r"[A-Za-z][\w+.-]{1,30}://(?P<user>[^\s:/@\"']{0,60}):"
            r"(?P<secret>[^\s@/\"']{1,100})@(?P<host>[\w.-]+)"
        ),
        _connection,
    ),
    Form(
        "authorization-header",
        "key",
        r"(?i:authorization)",
        _compiled(
            r"(?i:authorization)[\"']?\]?\s{0,3}[:=,]\s{0,3}[rbf]?[\"']?(?i:bearer|basic|token)\s+"
            r"(?P<secret>[\w.~+/=-]{16,})"
        ),
        _header,
    ),
    _assigned("password", _PASSWORD_NAMES, 8, 100, _password),
    _assigned("token", _TOKEN_NAMES, 16, 200, _token),
    Form(
        "environment",
        "key",
        f"{_ENVIRONMENT_NAMES}=",
        _compiled(
            rf"(?P<name>{_ENVIRONMENT_NAMES})=(?P<secret>[A-Za-z0-9_+/.~!@#%^&*=-]{{16,200}})"
        ),
        _token,
    ),
)

# --- personal ------------------------------------------------------------------------------

_GENERIC = "com org net edu gov mil int info biz name io dev app ai co me tv xyz online site tech"
_COUNTRIES = (
    "ac ad ae af ag al am ao ar as at au aw az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by "
    "bz ca cc cd cf cg ch ci ck cl cm cn cr cu cv cy cz de dj dk dm do dz ec ee eg er es et eu fi "
    "fj fm fo fr ga gd ge gf gg gh gi gl gm gn gp gr gt gu gy hk hn hr ht hu id ie il im in iq ir "
    "is it je jm jo jp ke kg kh ki km kn kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md mg "
    "mk ml mm mn mo mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg "
    "ph pk pl pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr st su "
    "sv sy sz tc td tf tg th tj tk tl tm tn to tr tt tw tz ua ug uk us uy uz va vc ve vg vi vn vu "
    "wf ws ye yt za zm zw"
)
_TOP_LEVEL = frozenset(f"{_GENERIC} {_COUNTRIES} email cloud blog tel pro cat asia museum".split())
"""Ends of addresses: without them every matrix product `x@self.weight` would be a mail."""

_OFFICES = (
    "noreply no-reply no_reply donotreply do-not-reply git svn hg mailer-daemon postmaster "
    "hostmaster webmaster abuse security support info admin administrator root contact help hello "
    "sales team bugs user username name someone somebody nobody anyone you me foo bar baz spam "
    "eggs test tester testing john jane john.doe jane.doe johndoe janedoe jdoe alice bob mail "
    "email e-mail author from to sender recipient demo first.last firstname.lastname"
)
_NOBODY = frozenset(_OFFICES.split())
"""Names before the @ that are offices, programs or examples."""
_EXAMPLE_HOST = re.compile(
    r"(?:.+\.)?(?:example|test|invalid|localhost|local)"
    r"|(?:.+\.)?(?:example|test|foo|bar|baz|foobar|spam|domain|email|host|site|server|company|acme"
    r"|corp|somewhere|nowhere|yourdomain|mydomain|your-domain|my-domain|some-?domain|xxx+|a|b|c|x|y)"
    r"\.[a-z.]+|.*\bexample\b.*|users\.noreply\.github\.com",
)
"""Hosts at which nobody has an address."""


def _mail(found: re.Match[str]) -> Judgement:
    local, host = found["local"].lower().strip("."), found["host"].lower()
    example = _EXAMPLE_HOST.fullmatch(host)
    if not local or not (example or host.rpartition(".")[2] in _TOP_LEVEL):
        return "no"
    before = found.string[max(0, found.start() - 80) : found.start()]
    after = found.string[found.end() : found.end() + 1]
    if re.search(r"://[^\s@/]*\Z", before) or after == "(":
        # What logs in at an address is asked of another form; a method is called of a product.
        return "no"
    nobody = local.partition("+")[0] in _NOBODY or stands_in(local) or local.isdigit()
    return "placeholder" if nobody or example else "yes"


_RESOLVERS = frozenset(
    {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "208.67.222.222", "208.67.220.220"}
    | {"2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111"}
)
"""Addresses of public services, that everybody writes."""
_DOCUMENTED = [
    ip_network(one)
    for one in (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"),
    )
]
"""For documentation: RFC 5737, 3849, 9637."""
_COUNTED = re.compile(
    r"(?:version|release|build|section|oid|ver|rev|[A-Za-z]/|\bv|[=<>~^!]=|\^|~)[\w\s\"'.:=,(\[-]{0,12}\Z",
    re.IGNORECASE,
)
"""What stands before four numbers that count releases."""


def _ipv4(found: re.Match[str]) -> Judgement:
    try:
        address = IPv4Address(found[0])
    except AddressValueError:
        return "no"
    before = found.string[max(0, found.start() - 30) : found.start()].rpartition("\n")[2]
    if any(address in net for net in _DOCUMENTED):
        return "placeholder"
    if not address.is_global or address.is_multicast or _COUNTED.search(before):
        return "no"
    numbers = address.packed
    if found[0].startswith("2.5.") or max(numbers[:3]) < 10:
        # An object identifier of X.500, a release, a section of a standard.
        return "placeholder"
    network = found.string[found.end() : found.end() + 2]
    steps = {b - a for a, b in pairwise(numbers)}
    counted = _longest_row(_digits(found), 1) >= _ROW or len(steps) == 1 or found[0] in _RESOLVERS
    return "placeholder" if counted or numbers[3] == 0 or re.match(r"/\d", network) else "yes"


def _ipv6(found: re.Match[str]) -> Judgement:
    try:
        address = IPv6Address(found[0].rstrip(":"))
    except AddressValueError:
        return "no"
    if any(address in net for net in _DOCUMENTED) or str(address) in _RESOLVERS:
        return "placeholder"
    if not address.is_global or sum(map(bool, found[0].split(":"))) < 3:
        return "no"
    return "placeholder" if found.string[found.end() : found.end() + 1] == "/" else "yes"


def _digits(found: re.Match[str]) -> str:
    return re.sub(r"\D", "", found[secret_group(found)])


def _phone(found: re.Match[str]) -> Judgement:
    digits = _digits(found)
    if not 10 <= len(digits) <= 15:
        return "no"
    national = digits[-10:]
    made_up = "555" in (national[:3], national[3:6]) or len(set(digits)) <= _FEW
    counted = _longest_row(digits, 1) >= _ROW or _longest_row(digits, 0) >= _ROW
    return "placeholder" if made_up or counted else "yes"


_ISSUERS = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}|6(?:011|5\d\d)\d{12}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)
"""Numbers as the issuers of cards give them."""
_PUBLISHED = (
    "4111111111111111 4242424242424242 4012888888881881 4000056655665556 4000000000000002 "
    "4000002500003155 4000002760003184 4000000000003220 4000000000009995 4000000000000069 "
    "4539578763621486 5555555555554444 5105105105105100 5200828282828210 5431111111111111 "
    "2223003122003222 2223000048400011 378282246310005 371449635398431 378734493671000 "
    "6011111111111117 6011000990139424 3056930009020004 30569309025904 38520000023237 "
    "3566002020360505 3530111333300000 4716461583322103 5425233430109903"
)
_TEST_CARDS = frozenset(_PUBLISHED.split())
"""Numbers that the issuers publish for tests."""


def luhn(digits: str) -> bool:
    """Whether the last digit is the check of the others. Source: ISO/IEC 7812-1, annex B."""
    doubled = [int(one) * (1 + place % 2) for place, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


def _card(found: re.Match[str]) -> Judgement:
    digits = _digits(found)
    if not _ISSUERS.fullmatch(digits) or not luhn(digits):
        return "no"
    published = digits in _TEST_CARDS or len(set(digits)) <= _FEW
    return "placeholder" if published or _longest_row(digits, 1) >= _ROW else "yes"


_USED_UP = frozenset({"123456789", "078051120", "219099999", "111223333", "123121234"})
"""Numbers of the United States that were printed so often that nobody has them."""


def _social(found: re.Match[str]) -> Judgement:
    digits = _digits(found)
    if digits[:3] in ("000", "666") or digits[3:5] == "00" or digits[5:] == "0000":
        return "no"
    # Numbers from 900 on are given to nobody.
    nobody = digits in _USED_UP or digits[0] == "9" or len(set(digits)) <= 2
    return "placeholder" if nobody else "yes"


_PRINTED = frozenset(
    {"GB82WEST12345698765432", "DE89370400440532013000", "GB29NWBK60161331926819"}
    | {"FR1420041010050500013M02606", "NL91ABNA0417164300", "BE68539007547034"}
    | {"ES9121000418450200051332", "CH9300762011623852957", "IT60X0542811101000000123456"}
)
"""Account numbers that the standard's registry prints as examples."""


def _iban(found: re.Match[str]) -> Judgement:
    plain = found[0].replace(" ", "")
    if sum(map(str.isdigit, plain)) < 10:
        return "no"
    moved = "".join(str(int(one, 36)) for one in plain[4:] + plain[:4])
    if int(moved) % 97 != 1:
        return "no"
    return "placeholder" if plain in _PRINTED or stands_in(plain[4:]) else "yes"


_PERSONAL = (
    Form(
        "email",
        "personal",
        r"[A-Za-z0-9_.%+-]@[A-Za-z0-9-]+\.[A-Za-z]",
        _compiled(
            r"(?<![A-Za-z0-9._%+-])(?P<local>[A-Za-z0-9._%+-]{1,64})@"
            r"(?P<host>(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24})(?![A-Za-z0-9_-])"
        ),
        _mail,
    ),
    Form(
        "ipv4",
        "personal",
        r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        _compiled(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)"),
        _ipv4,
    ),
    Form(
        "ipv6",
        "personal",
        r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{3}",
        _compiled(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]{3,35}(?![\w.])"),
        _ipv6,
    ),
    Form(
        "phone",
        "personal",
        r"\+[1-9][0-9 .()-]{8}|[0-9]{3}\)? ?[.-]?[0-9]{3}[.-][0-9]{4}",
        _compiled(
            r"(?<=[^\w.+\n])\+[1-9]\d{0,2}[ .-](?:\(\d{1,4}\)[ .-]?)?\d{2,8}"
            r"(?:[ .-]\d{2,8}){1,4}(?![\w.-]|\+)"
            r"|(?<=[\"':])\+[1-9]\d{9,14}(?=[\"',;]|$)"
            r"|(?<![\w.-])(?:\([2-9]\d\d\) ?|[2-9]\d\d(?P<sign>[.-]))[2-9]\d\d"
            r"(?(sign)(?P=sign)|[.-])\d{4}(?![\w.-])"
        ),
        _phone,
    ),
    Form(
        "payment-card",
        "personal",
        r"[0-9]{4}[ -][0-9]{4,6}[ -][0-9]|[\"'][0-9]{14,16}[\"']",
        _compiled(
            r"(?<![\w.-])\d{4}(?P<gap>[ -])(?:\d{4}(?P=gap)\d{4}(?P=gap)\d{4}"
            r"|\d{6}(?P=gap)\d{4,5})(?![\w.-])|(?<=[\"'])\d{14,16}(?=[\"'])"
        ),
        _card,
    ),
    Form(
        "social-security-number",
        "personal",
        r"(?i:ssn|social.?security)",
        _compiled(r"(?i:ssn|social.?security)[^\n\d]{0,40}(?P<secret>\d{3}-\d{2}-\d{4})(?![\w-])"),
        _social,
    ),
    Form(
        "bank-account",
        "personal",
        "[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]",
        _compiled(
            r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[A-Z0-9]{11,30}"
            r"|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?![A-Za-z0-9])"
        ),
        _iban,
    ),
)

FORMS: tuple[Form, ...] = (*_VENDORS, *_OTHER_KEYS, *_PERSONAL)
"""All forms, the more certain first: what one has found is not asked of those after it."""
