"""What `redact` masks, and what it leaves alone.

The keys are made up, and put together here, so that no scanner of this repository takes one for a
real one.
"""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ted_memory import redaction
from ted_memory.redaction import redact

HEX = "0123456789abcdef" * 4
MIXED = "a1B2c3D4e5F6g7H8i9J0" * 5
LETTERS = "abCDefGHijKLmnOPqrSTuvWXyz" * 2
PEM = "PRIVATE KEY-----"

KEYS = {
    "OpenAI, of old": "sk-" + MIXED[:48],
    "OpenAI, of a project": "sk-" + "proj-" + "Ab1_-" * 25,
    "OpenAI, of a service": "sk-" + "svcacct-" + "Ab1_-" * 25,
    "Anthropic": "sk-" + "ant-api03-" + "Ab1_-" * 19 + "AA",
    "OpenRouter": "sk-" + "or-v1-" + HEX,
    "DeepSeek": "sk-" + HEX[:32],
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS, for a time": "ASIA" + "IOSFODNN7EXAMPLE",
    "GitHub": "ghp_" + MIXED[:36],
    "GitHub OAuth": "gho_" + MIXED[:36],
    "GitHub app": "ghs_" + MIXED[:36],
    "GitHub app, as a web token": "ghs_"
    + "123456_eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    + MIXED[:40]
    + "."
    + MIXED[:43],
    "GitHub, fine-grained": "github_pat_" + MIXED[:22] + "_" + MIXED[:59],
    "GitLab": "glpat-" + MIXED[:20],
    "Slack bot": "xoxb-" + "123456789012-1234567890123-" + MIXED[:24],
    "Slack user": "xoxp-" + "123456789012-123456789012-" + HEX[:32],
    "Slack app": "xapp-" + "1-A0123456789-1234567890123-" + HEX,
    "Google": "AIza" + "Sy1_-" * 7,
    "Hugging Face": "hf_" + LETTERS[:34],
    "Stripe": "sk_" + "live_" + MIXED[:24],
    "Stripe, restricted": "rk_" + "live_" + MIXED[:24],
    "LangSmith": "lsv2_" + "pt_" + HEX[:32] + "_" + HEX[:10],
    "Google OAuth": "ya29." + MIXED[:60],
    "Google OAuth client": "GOCSPX-" + MIXED[:28],
    "Stripe webhook": "whsec_" + MIXED[:32],
    "Groq": "gsk_" + MIXED[:52],
    "xAI": "xai-" + MIXED[:80],
    "NVIDIA": "nvapi-" + MIXED[:64],
    "npm": "npm_" + MIXED[:36],
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + MIXED[:60],
    "SendGrid": "SG." + MIXED[:22] + "." + MIXED[:43],
    "a web token": "eyJhbGciOiJIUzI1NiJ9."
    + "eyJzdWIiOiIxMjM0In0."
    + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "an unsigned web token": "eyJhbGciOiJub25lIn0." + "eyJzdWIiOiIxMjM0In0.",
    "a private key": f"-----BEGIN RSA {PEM}\nMIIEpAIBAAKC\nAQEA+/0=\n-----END RSA {PEM}",
    "a private key with a head": (
        f"-----BEGIN EC {PEM}\nProc-Type: 4,ENCRYPTED\n\nMHcC\n-----END EC {PEM}"
    ),
    "a private key of PGP": (
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOY\n=ab1c\n-----END PGP PRIVATE KEY BLOCK-----"
    ),
    "a private key in JSON": rf"-----BEGIN {PEM}\nMIIEvQ+/\n-----END {PEM}",
    "a private key, cut off": f"-----BEGIN {PEM}\n{MIXED[:64]}\n{MIXED[:64]}",
}

# before what is masked, what is masked, after it
SECRETS = [
    ("password=", "hunter2", ""),
    ("password: ", "hunter2", "\nuser: anna"),
    ("My password is: ", "hunter2!", ""),
    ("**Password:** ", "hunter2", ""),
    ('password = "', "swordfish", '"'),
    ("db_pass='", "swordfish", "'"),
    ('{"dbPassword":"', "swordfish", '","port":1}'),
    (r'{"body": "{\"password\": \"', "swordfish", r'\"}"}'),
    ('{"password": "', r"sword\"fish", '"}'),
    ('password = "', "hunter2", ""),
    ("PASSWORD=", "swordfish", "\nPORT=1"),
    ("export PGPASSWORD=", "swordfish", " && psql"),
    ("Server=db;Password=", "hunter2", ";Database=x"),
    ("login?user=anna&password=", "hunter2", "&next=1"),
    ("mysql --password ", "hunter2", " -e 'select 1'"),
    ("tool --api-key=", "abc123", " run"),
    ("tool --auth-token '", "abcdef", "' run"),
    ("secret='", "abcd", "'"),
    ("client_secret=", "abc12345", "&scope=all"),
    ("api_key: ", "abc-123-def", ""),
    ("My API key: ", "abc-123-def", ""),
    ("api_key: str = '", "abcdefg", "'"),
    ('os.environ["OPENAI_API_KEY"] = "', "abcdefg", '"'),
    ("X-Api-Key: ", "0a1b2c3d", "\nHost: x"),
    ("aws_secret_access_key = ", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "\n"),
    ("AccountKey=", "abc123+/def==", ";Suffix=x"),
    ("access_token=", "abc123def456", "&x=1"),
    ("GITHUB_TOKEN: ", "abcdefgh12345678", ""),
    ('{"token": "', "a1b2c3d4e5f6g7h8i9", '"}'),
    ("Authorization: Bearer ", "abc123-def456._~", ""),
    ('-H "Authorization: Basic ', "dXNlcjpwYXNz", '"'),
    ('{"Authorization": "token ', "abcdef123456", '"}'),
    ("bearer ", "abc123def456==", " was refused"),
    ("postgres://anna:", "pa55", "@localhost/db"),
    ("redis://:", "swordfish", "@localhost:6379"),
    ("https://anna:", "p@ss", "@example.com/x"),
    ("smtp://anna@example.com:", "word", "@example.com"),
]

ADDRESSES = [
    ("", "anna@example.com", ""),
    ("Write to ", "anna.b+news@mail.example.co.uk", "."),
    ("mailto:", "anna@example.com", "?subject=x"),
    ("Anna <", "anna_b@example.com", ">, Ben"),
    ("_", "anna@example.com", "_"),
    ("email=", "anna%40example.com", "&x=1"),
    (r'{"text": "line\n', "anna@example.com", '"}'),
    ("an ", "müller@müller.de", " und"),
    ("на ", "иван@пример.рф", "."),
    ("联系", "anna@example.com", "谢谢"),
    ("", "anna@example.com-ben@example.com", ""),
]

CARDS = [
    ("", "4111 1111 1111 1111", ""),
    ("Visa 4-", "4222222222222", ""),
    ("pay with ", "4111-1111-1111-1111", ", please"),
    ("1,", "5555555555554444", ",x"),
    ("card:", "2223003122003222", "."),
    ("Amex ", "378282246310005", ""),
    ("Amex ", "3782 822463 10005", ""),
    ("Diners ", "30569309025904", ""),
    ("Discover ", "6011111111111117", ""),
    ("JCB ", "3530111333300000", ""),
    ("Maestro ", "6304000000000000000", ""),
    ("", "4111 1111 1111 1111", " 123"),
    ("", "4111 1111 1111 1111", " 12/29 123"),
]

ORDINARY = [
    # keys
    "risk-adjusted-returns-for-the-year-2024 and task-1234567890123456789012345",
    '<div class="sk-toggleable__control-content"> of sk-learn, api_key="sk-..."',
    "AKIA, hf_transformers_model_for_2024, eyJ is how base64 of JSON begins",
    f"-----BEGIN {PEM} is its first line",
    f'FIRST = "-----BEGIN {PEM}"\nLAST = "-----END {PEM}"',
    (
        "-----BEGIN CERTIFICATE-----\n"
        "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBa\n-----END CERTIFICATE-----"
    ),
    (
        "Bearer tokens are used for bearer authentication; "
        "Authorization: Bearer <token>, Authorization: Bearer $TOKEN1"
    ),
    # names of secrets in prose, schemas and code
    "The secret: work hard. password: must be at least 8 characters",
    '{"password": "This field is required.", "token": "the", "logprob": -0.1234567890123456}',
    '{"password": {"type": "string", "minLength": 8}, "secret": "string"}',
    (
        'password: "${DB_PASSWORD}"; api_key: "{{ secrets.KEY1 }}"; '
        '"apiKey": "<your-api-key-1>"; key_pass="your-key"'
    ),
    (
        "PASSWORD=$DB_PASSWORD1 PASSWORD=${DB_PASSWORD1} PASSWORD=DB_PASSWORD "
        "OLDPWD=/srv/app1/data PWD=~/project1"
    ),
    "secret: base64-encoded, password: sha256, api_key=your-api-key-1",
    "def login(user: str, password: str, secret: Optional[str] = None) -> Token: ...",
    "login(user, password=password, api_key=settings.api_key2, token=self.tokens[12345])",
    "password = get_password1(); secret = b64decode(x); api_key = os.environ['OPENAI_API_KEY']",
    'SECRETS = {"openai_api_key": "OPENAI_API_KEY"}; f"api_key={api_key1}"',
    "max_tokens: 1000, token: 1234567890123456, next_token = tokenizer_v2_output_ids[0]",
    "if password == confirmation: password_hash = 5f4dcc3b5aa765d61d8327deb882cf99",
    "tool --token-limit 100000 --pass-through 12345678, all tests pass: 123456",
    "primary_key = 123456, public_key: abc123456, keyboard: qwerty12",
    # URLs and addresses
    "http://localhost:8080/path@2 https://example.com:443/a?b=c@d",
    "postgres://anna@localhost/db redis://localhost:6379/0",
    "postgres://{user}:{password}@{host}/db postgres://$USER:$PASSWORD@localhost",
    "git@github.com:langchain-ai/langchain.git, ssh root@10.0.0.1",
    "actions/checkout@v4, react@18.2.0, logo@2x.png",
    "y = x@self.weight + q@k.transpose(-2, -1) + X@W.T",
    "@app.route('/x')\n@pytest.mark.asyncio\n@anna, see @ben.b",
    # digits
    "order 1234-5678-9012, invoice 2024-000123456, item 4111111111111112",
    "4111 1111 1111 1112, and 41111111111111114111, and 0.4111111111111111, and 3.4111111111111111",
    "2001 2002 2003 2004 2005 2006; 3000 4000 5000 6000 7000 8000; 2 3 5 7 11 13 17 19 23 29 31 37",
    "1700000000000 ms, 1700000000000000000 ns, 2024-05-01T12:00:00.123456Z, 2024-05-01 2024-05-02",
    "+4915123456789, +49 1512 3456789, (555) 010-9999, 978-3-16-148410-0, 127.0.0.1:8080",
    "550e8400-e29b-41d4-a716-446655440000 11111111-1111-4111-8111-111111111111",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 6fc25c4",
    "v1.2.3-rc.4+build.5, 1+2=3, x**2 + 4111111111111111*x, 10^16",
    "[key] and [email] and [card] and ://anna:[key]@host and password='[key]'",
]

# pieces of what is looked for, put together in ways nobody writes
PIECES = [
    *KEYS.values(),
    *(part for parts in (*SECRETS, *ADDRESSES, *CARDS) for part in parts if part),
    *(
        ".",
        "-",
        "_",
        " ",
        "\n",
        "\\",
        "\\n",
        '"',
        "'",
        "`",
        "=",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ";",
        "|",
        "/",
    ),
    *(
        "://",
        "@",
        "%40",
        "--",
        "-----",
        "[key]",
        "[email]",
        "[card]",
        "1",
        "12",
        "1111",
        "a",
        "é",
        "联",
        "Bearer ",
    ),
    *(
        "password",
        "PASSWORD=",
        "secret=",
        "token=",
        "api_key: ",
        f"-----BEGIN {PEM}",
        f"-----END {PEM}",
    ),
]
# what makes careless rules slow, and whether it stays
REPEATED = {
    **dict.fromkeys(
        ("a", "@", "1 ", "sk-", "Bearer ", "-----BEGIN", "--a", "a.", "4111 ", "4", "://a:"), True
    ),
    **dict.fromkeys(
        ("\\", " ", "-", "[", "[key]", "password=", "PASSWORD=A_", "secret: ", "token=a1", "eyJ"),
        True,
    ),
    **dict.fromkeys((f"-----BEGIN {PEM}", f"-----END {PEM}", "pwd=1("), True),
    **dict.fromkeys(
        ("a@b.com-", "password='", 'password=\\"', "password='\"", "pwd=1aaaaaa", "://a:b@"), False
    ),
}
KEY_LIKE = re.compile(
    r"pass|pwd|secret|key|token|bearer|authorization|://|PRIVATE|[rs]k[-_]|gsk|hf|gh|eyJ|xai|pplx|npm",
    re.I,
)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize(
    "frame", ["{}", "the key {} is used", "key={},", "'{}'", "({})", "`{}`", '{{"a": "x\\n{}\\n"}}']
)
def test_a_key_of_a_known_form_is_masked_wherever_it_stands(key: str, frame: str) -> None:
    assert redact(frame.format(key)) == frame.format("[key]")


@pytest.mark.parametrize(("before", "secret", "after"), SECRETS)
def test_only_the_value_of_a_named_secret_is_masked(before: str, secret: str, after: str) -> None:
    masked = redact(before + secret + after)
    assert masked.replace("[email]", "anna@example.com") == f"{before}[key]{after}"


@pytest.mark.parametrize(("before", "address", "after"), ADDRESSES)
def test_an_address_is_masked_and_nothing_beside_it(before: str, address: str, after: str) -> None:
    assert redact(before + address + after) == f"{before}[email]{after}"


@pytest.mark.parametrize(("before", "number", "after"), CARDS)
def test_a_card_number_is_masked_and_nothing_beside_it(
    before: str, number: str, after: str
) -> None:
    assert redact(before + number + after) == f"{before}[card]{after}"


@pytest.mark.parametrize(("before", "number", "after"), CARDS)
def test_a_number_whose_check_digit_is_wrong_is_no_card(
    before: str, number: str, after: str
) -> None:
    wrong = number[:-1] + str((int(number[-1]) + 5) % 10)
    assert redact(before + wrong + after) == before + wrong + after


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_text_with_one_of_each_loses_all_and_only_these() -> None:
    text = (
        "Order 4711: anna@example.com paid with 4111 1111 1111 1111 "
        f"through {KEYS['Stripe']} on 2024-05-01."
    )
    masked = redact(text)
    assert masked != text
    assert masked == "Order 4711: [email] paid with [card] through [key] on 2024-05-01."


def test_a_card_inside_of_a_secret_goes_with_the_secret() -> None:
    assert redact("password: 4111-1111-1111-1111, x") == "password: [key], x"
    assert redact("password: 4111 1111 1111 1111, x") == "password: [card], x"


@pytest.mark.parametrize("nested", [False, True])
def test_json_with_secrets_in_its_strings_is_still_json(nested: bool) -> None:
    said = {
        "cmd": 'export PASSWORD="hunter2"\nanna@example.com',
        "password": 'sw"ord\\fish',
        "n": 12,
        "é…": KEYS["AWS"],
    }
    text = json.dumps({"arguments": json.dumps(said)} if nested else said)
    read = json.loads(redact(text))
    assert (json.loads(read["arguments"]) if nested else read) == {
        "cmd": 'export PASSWORD="[key]"\n[email]',
        "password": "[key]",
        "n": 12,
        "é…": "[key]",
    }


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_what_was_redacted_is_not_changed_again(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_can_be_redacted_twice_with_the_same_outcome(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@settings(max_examples=500, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Nd"], exclude_characters="@")).filter(
        lambda t: not KEY_LIKE.search(t)
    )
)
def test_text_without_digits_at_signs_and_words_of_keys_is_unchanged(text: str) -> None:
    assert redact(text) == text


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=40),
    st.text(max_size=40),
    st.sampled_from(["AWS", "DeepSeek", "GitHub", "Stripe"]),
)
def test_a_key_between_any_words_does_not_get_through(before: str, after: str, name: str) -> None:
    assert KEYS[name] not in redact(f"{before} {KEYS[name]} {after}")


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, *KEYS.values()]) | st.text(max_size=3), max_size=12).map(
        "".join
    )
)
def test_a_rule_that_is_left_out_for_speed_would_have_found_nothing(text: str) -> None:
    masked = text
    for rule in redaction._RULES:
        masked = rule.pattern.sub(rule.replacement, masked)
    assert redact(text) == redaction._CARD.sub(redaction._masked_card, masked)


@pytest.mark.parametrize("unit", REPEATED)
def test_a_long_repetition_comes_to_an_end(unit: str) -> None:
    # a rule that tried each stretch from each of its letters would run into the time limit of the
    # tests
    text = unit * (500_000 // len(unit))
    unchanged = redact(text) == text
    assert unchanged is REPEATED[unit]
