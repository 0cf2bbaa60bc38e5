"""Who asks, what it opens and how much: keys, hostile tokens, rates and quotas."""

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from modelworks.core.errors import (
    ForbiddenError,
    InvalidError,
    LimitedError,
    MissingExtraError,
    UnauthenticatedError,
)
from modelworks.core.routes import BUCKETS, Arm, Limit, Pass, Route, Snapshot, Span, Tokens
from modelworks.ext.tokens.jwt import JwtKey
from modelworks.plugins.load import load
from modelworks.protocol.routes.access import ANYBODY, Access
from modelworks.protocol.routes.limits import CELLS, Table

pytestmark = pytest.mark.unit

ROUTE = Route("fraud", (Arm("a"),), (Span(0, BUCKETS, "a"),), model="fraud")
NOW = 1_800_000_000
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEYS = {"rsa": pem(RSA), "ec": pem(EC), "ed": pem(ED)}
RULES = Tokens(KEYS, "https://issuer", "modelworks", tenant="org", models="models")


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(text):
    return b"Bearer " + (text if isinstance(text, bytes) else text.encode())


# -- keys


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_nobody_is_asked_where_there_are_no_keys():
    access = Access(Snapshot(1, (ROUTE,)))
    assert not access.closed
    assert access.who(None) is access.who(b"Bearer anything") is ANYBODY
    access.admit(ANYBODY, ROUTE, "fraud")


def test_a_key_opens_its_models_for_its_time():
    now = [NOW * 10**9]
    keys = {
        digest("k1"): Pass("shop", models=("fraud", "spam-*")),
        digest("k2"): Pass("all", "acme", until_ns=now[0] + 5),
    }
    access = Access(Snapshot(1, (ROUTE,), keys), clock=lambda: now[0])
    shop = access.who(bearer("k1"))
    assert (shop.name, shop.tenant) == ("shop", "default")
    assert access.who(b"bearer  k1").name == "shop"
    assert access.who(bearer("k1")) is shop
    access.admit(shop, ROUTE, "fraud")
    access.admit(shop, ROUTE, "spam-2")
    with pytest.raises(ForbiddenError, match=r"'shop' may not ask the model 'other'; .* spam-\*"):
        access.admit(shop, ROUTE, "other")
    assert access.who(bearer("k2")).tenant == "acme"
    now[0] += 5
    with pytest.raises(UnauthenticatedError, match="'all' is over"):
        access.who(bearer("k2"))


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic k1",
        b"k1",
        bearer("k1 k1"),
        bearer("K1"),
        bearer("k1\0"),
        bearer("x" * 5000),
        bearer("\xff"),
        bearer("a.b.c"),
    ],
)
def test_who_is_not_known_is_refused_and_not_repeated(given):
    access = Access(Snapshot(1, (), {digest("k1"): Pass("shop")}))
    with pytest.raises(UnauthenticatedError) as caught:
        access.who(given)
    assert "k1" not in caught.value.message.lower()
    assert caught.value.field == "Authorization"


def test_what_is_remembered_is_bounded():
    keys = {digest(f"k{n}"): Pass(f"n{n}") for n in range(9000)}
    access = Access(Snapshot(1, (), keys))
    for n in range(9000):
        assert access.who(bearer(f"k{n}")).name == f"n{n}"
    assert len(access._known) <= 8192
    assert access.who(bearer("k0")).name == "n0"


# -- tokens


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims(**more):
    said = {"sub": "joe", "org": "acme", "models": ["fraud"], "iss": "https://issuer"}
    said |= {"aud": "modelworks", "exp": NOW + 600} | more
    return {key: value for key, value in said.items() if value is not ...}


def token(head=None, said=None, key=RSA, sign=None):
    head = {"alg": "RS256", "kid": "rsa", "typ": "JWT"} if head is None else head
    signed = part(head) + b"." + part(claims() if said is None else said)
    return signed + b"." + part(signature(key, signed) if sign is None else sign(signed))


def signature(key, signed):
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return key.sign(signed)


def reading(rules=RULES, now=NOW):
    at = [now * 10**9]
    access = Access(Snapshot(1, (), {}, rules), load("tokens", "jwt"), clock=lambda: at[0])
    return access, at


@pytest.mark.parametrize(
    ("alg", "kid", "key"), [("RS256", "rsa", RSA), ("ES256", "ec", EC), ("EdDSA", "ed", ED)]
)
def test_a_good_token_of_each_kind(alg, kid, key):
    access, at = reading()
    given = bearer(token({"alg": alg, "kid": kid}, key=key))
    caller = access.who(given)
    assert (caller.name, caller.tenant, caller.models) == ("joe", "acme", ("fraud",))
    assert access.who(given) is caller  # checked once
    at[0] += 629 * 10**9
    assert access.who(given) is caller
    at[0] += 1 * 10**9
    with pytest.raises(UnauthenticatedError, match="over"):
        access.who(given)  # remembered, and held to its end all the same


def test_what_else_may_stand_in_a_good_token():
    access, _ = reading()
    assert access.who(bearer(token(said=claims(aud=["x", "modelworks"])))).name == "joe"
    assert access.who(bearer(token(said=claims(exp=NOW + 0.5, nbf=NOW + 29)))).name == "joe"
    assert access.who(bearer(token(said=claims(models="fraud  spam")))).models == ("fraud", "spam")
    nothing = access.who(bearer(token(said=claims(models=...))))
    with pytest.raises(ForbiddenError, match="opens: none"):
        access.admit(nothing, ROUTE, "fraud")
    plain, _ = reading(Tokens({"only": KEYS["rsa"]}))
    caller = plain.who(bearer(token({"alg": "RS256"})))
    assert (caller.tenant, caller.models) == ("default", None)


def shared_secret(signed):
    return hmac.digest(KEYS["rsa"].encode(), signed, "sha256")


GOOD = token()
HEAD, CLAIMS, SIGNATURE = GOOD.split(b".")
HOSTILE = {
    "alg none": token({"alg": "none", "kid": "rsa"}, sign=lambda _: b""),
    "alg none in other letters": token({"alg": "nOnE", "kid": "rsa"}, sign=lambda _: b"x"),
    "no signature": HEAD + b"." + CLAIMS + b".",
    "public key as shared secret": token({"alg": "HS256", "kid": "rsa"}, sign=shared_secret),
    "RS256 said, shared secret used": token(sign=shared_secret),
    "algorithm of another key": token({"alg": "ES256", "kid": "rsa"}),
    "algorithm missing": token({"kid": "rsa"}),
    "algorithm no text": token({"alg": ["RS256"], "kid": "rsa"}),
    "other RSA hash": token({"alg": "RS512", "kid": "rsa"}),
    "signed by somebody else": token(key=OTHER_RSA),
    "kid of another key": token({"alg": "RS256", "kid": "ec"}),
    "unknown kid": token({"alg": "RS256", "kid": "../../dev/null"}),
    "no kid, three keys": token({"alg": "RS256"}),
    "kid no text": token({"alg": "RS256", "kid": {"$ne": ""}}),
    "own key brought along": token(
        {"alg": "RS256", "kid": "x", "jwk": {"kty": "RSA"}, "jku": "http://evil"}, key=OTHER_RSA
    ),
    "critical extension": token({"alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": False}),
    "claims exchanged": HEAD + b"." + part(claims(sub="root")) + b"." + SIGNATURE,
    "a bit of the signature": token(
        sign=lambda s: bytes([signature(RSA, s)[0] ^ 1]) + signature(RSA, s)[1:]
    ),
    "signature too short": token(sign=lambda s: signature(RSA, s)[:-1]),
    "ES256 of zeros": token({"alg": "ES256", "kid": "ec"}, sign=lambda _: bytes(64)),
    "ES256 as DER": token(
        {"alg": "ES256", "kid": "ec"}, sign=lambda s: EC.sign(s, ec.ECDSA(SHA256()))
    ),
    "EdDSA of zeros": token({"alg": "EdDSA", "kid": "ed"}, sign=lambda _: bytes(64)),
    "over": token(said=claims(exp=NOW - 31)),
    "never over": token(said=claims(exp=...)),
    "end is text": token(said=claims(exp=str(NOW + 600))),
    "end is true": token(said=claims(exp=True)),
    "end is null": token(said=claims(exp=None)),
    "not yet": token(said=claims(nbf=NOW + 31)),
    "nbf is text": token(said=claims(nbf="now")),
    "other issuer": token(said=claims(iss="https://issuer.evil")),
    "no issuer": token(said=claims(iss=...)),
    "issuer in a list": token(said=claims(iss=["https://issuer"])),
    "other audience": token(said=claims(aud="modelworks2")),
    "audience in an object": token(said=claims(aud={"modelworks": 1})),
    "no audience": token(said=claims(aud=...)),
    "no name": token(said=claims(sub=...)),
    "name is a number": token(said=claims(sub=7)),
    "name is too long": token(said=claims(sub="j" * 257)),
    "name with a zero byte": token(said=claims(sub="j\0oe")),
    "no tenant": token(said=claims(org=...)),
    "empty tenant": token(said=claims(org="")),
    "models no list": token(said=claims(models=[1])),
    "two parts": HEAD + b"." + CLAIMS,
    "four parts": GOOD + b".x",
    "encrypted": b".".join([HEAD] * 5),
    "header no JSON": part(b"{") + b"." + CLAIMS + b"." + SIGNATURE,
    "header a list": part([]) + b"." + CLAIMS + b"." + SIGNATURE,
    "claims a list": token(said=[1]),
    "header with NaN": part(b'{"alg":NaN}') + b"." + CLAIMS + b"." + SIGNATURE,
    "padding": HEAD + b"=." + CLAIMS + b"." + SIGNATURE,
    "standard base64": HEAD + b"." + CLAIMS + b"." + SIGNATURE + b"+/",
    "too long": token(said=claims(more="x" * 20_000)),
    "deep": part(b"[" * 3000) + b"." + CLAIMS + b"." + SIGNATURE,
}


def test_the_token_that_hostile_ones_are_made_of_is_good():
    access, _ = reading()
    assert access.who(bearer(GOOD)).name == "joe"


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_tokens(what):
    access, _ = reading()
    for _ in range(2):  # nothing is remembered of a refused one
        with pytest.raises(UnauthenticatedError) as caught:
            access.who(bearer(HOSTILE[what]))
        assert "joe" not in caught.value.message
    assert not access._known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no key", "no PEM"),
        (pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "2048"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "P-256"),
    ],
)
def test_keys_of_tokens_that_are_not_taken(text, words):
    with pytest.raises(InvalidError, match=words) as caught:
        Access(Snapshot(1, tokens=Tokens({"k": text})), JwtKey)
    assert caught.value.field == "tokens.keys.k"


def test_tokens_without_the_library():
    with pytest.raises(MissingExtraError, match=r"modelworks\[jwt\]"):
        Access(Snapshot(1, tokens=RULES))


# -- limits


def limited(limits=None, key=None, route=None, clock=None, cells=None):
    clock = clock or Clock()
    made = Route("fraud", ROUTE.arms, ROUTE.spans, model="fraud", limit=route)
    keys = {digest("k"): Pass("shop", limit=key)}
    snapshot = Snapshot(1, (made,), keys, limits={"default": limits} if limits else {})
    access = Access(snapshot, table=Table(cells, clock))
    caller = access.who(bearer("k"))
    return lambda: access.admit(caller, made, "fraud"), clock


@pytest.mark.parametrize("who", ["limits", "key", "route"])
def test_a_rate_lets_its_burst_through_and_then_its_pace(who):
    ask, clock = limited(**{who: Limit(rate=10.0, burst=3)})
    for _ in range(3):
        ask()
    with pytest.raises(LimitedError, match=r"rate of the .* is used up") as caught:
        ask()
    assert caught.value.retry_after == 1
    clock.now += 0.09
    with pytest.raises(LimitedError):
        ask()
    passed = 0
    for _ in range(1000):
        clock.now += 0.01
        try:
            ask()
        except LimitedError:
            continue
        passed += 1
    assert 100 <= passed <= 101


def test_a_quota_ends_with_its_window():
    ask, clock = limited(key=Limit(quota=5, quota_s=3600.0))
    for _ in range(5):
        ask()
    clock.now += 600
    with pytest.raises(LimitedError, match="quota of the key default shop") as caught:
        ask()
    assert caught.value.retry_after == 3000
    clock.now += 3000
    for _ in range(5):
        ask()
    with pytest.raises(LimitedError):
        ask()


def test_what_one_limit_refuses_no_other_one_counts():
    ask, clock = limited(key=Limit(rate=1.0, burst=1), route=Limit(quota=2, quota_s=100.0))
    ask()
    for _ in range(10):
        with pytest.raises(LimitedError, match="key"):
            ask()
    clock.now += 1
    ask()
    clock.now += 1
    with pytest.raises(LimitedError, match="route"):
        ask()


def test_workers_that_share_the_cells_share_the_limit():
    cells = memoryview(bytearray(64 * CELLS * 8)).cast("d")
    clock = Clock()
    asks = [limited(key=Limit(rate=1.0, burst=4), clock=clock, cells=cells)[0] for _ in range(2)]
    for turn in range(4):
        asks[turn % 2]()
    for ask in asks:
        with pytest.raises(LimitedError):
            ask()


def test_a_new_snapshot_forgets_no_count():
    cells = memoryview(bytearray(64 * CELLS * 8)).cast("d")
    clock = Clock()
    limited(key=Limit(quota=1), clock=clock, cells=cells)[0]()
    with pytest.raises(LimitedError):
        limited(key=Limit(quota=1), clock=clock, cells=cells)[0]()


def test_idle_subjects_make_room_and_busy_ones_keep_their_cells():
    clock = Clock()
    table = Table(memoryview(bytearray(16 * CELLS * 8)).cast("d"), clock)
    busy = [table.meter(f"busy {n}", Limit(quota=1, quota_s=1e6)) for n in range(8)]
    for meter in busy:
        assert meter.refusal(clock()) is None
        meter.count(clock())
    for n in range(200):
        idle = table.meter(f"idle {n}", Limit(rate=100.0))
        assert idle.refusal(clock()) is None
        idle.count(clock())
        clock.now += 1
    assert all(meter.refusal(clock()) is not None for meter in busy)
