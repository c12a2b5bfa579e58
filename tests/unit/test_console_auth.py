"""Who gets into the console, how long they stay, and what is asked of whoever tries passwords."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.routing import Route

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import open_folder
from pipeline.errors import StoreDamaged, UsageError
from tests.unit.cli_rig import Titian
from tests.unit.console_rig import (
    CHEAP,
    PASSWORD,
    Console,
    Role,
    add_token,
    add_user,
    console_of,
    copied_sides,
)
from workers.console.answers import own_path
from workers.console.attempts import ADDRESS_EACH_S, ADDRESS_TRIES, ADDRESSES_MAX, ALL_TRIES, Attempts
from workers.console.guard import PUBLIC
from workers.console.passwords import hash_password, is_password
from workers.console.sessions import SESSIONS_MAX, Sessions, Who
from workers.console.users import User, UserFile, check_name
from workers.console.where import is_here, is_ours, listen_host


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    monkeypatch.setattr(hash_password, "__defaults__", (CHEAP,))
    return Titian(capsys, monkeypatch)


@pytest.fixture
def region(tmp_path: Path) -> Path:
    return copied_sides(tmp_path).region


@pytest.fixture
def console(region: Path) -> Console:
    return console_of(region)


def paths(console: Console) -> list[tuple[str, str]]:
    """Every route with each of its methods, with something in the place of its parameters."""
    found = []
    for route in console.app.routes:
        assert isinstance(route, Route)
        path = route.path.replace("{which}", "1806-aaaaaa-000001").replace("{name}", "console.css")
        found += [(method, path.replace("{code}", "1806")) for method in sorted(route.methods or ())]
    return found


# --- who has not signed in ------------------------------------------------------------------------


def test_whoever_has_not_signed_in_sees_nothing_but_what_is_for_all(console: Console) -> None:
    open_to_all = [one for one in paths(console) if one[1].startswith((*PUBLIC, "/login", "/static/"))]
    for method, path in paths(console):
        answer = console.browser().ask(method, path, headers={"accept": "application/json"})
        if (method, path) in open_to_all and method != "POST":
            assert answer.status_code in (200, 503), (method, path)
        else:
            assert answer.status_code in (401, 403), (method, path, answer.status_code)
    assert len(open_to_all) < len(paths(console)) / 2


def test_a_browser_is_sent_to_sign_in_and_from_there_to_the_page_it_wanted(console: Console) -> None:
    browser = console.browser()
    answer = browser.get("/dead?lane=urgent")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/dead%3Flane%3Durgent")
    assert 'value="/dead?lane=urgent"' in browser.get(answer.headers["location"]).text
    assert browser.sign_in("siti", after="/dead?lane=urgent").headers["location"] == "/dead?lane=urgent"
    assert browser.get("/dead?lane=urgent").status_code == 200


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "", "/a\nb", "/é"]
)
def test_nobody_is_sent_to_another_place(console: Console, path: str) -> None:
    assert own_path(path) == "/"
    assert console.browser().sign_in("siti", after=path).headers["location"] == "/"


# --- signing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "password"), [("siti", "another password"), ("nobody", PASSWORD), ("", ""), ("siti", "")]
)
def test_a_wrong_name_or_password_gets_the_same_answer(
    console: Console, name: str, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.console.users.NOBODY", hash_password("nobody's own", CHEAP))
    browser = console.browser()
    answer = browser.sign_in(name, password)
    assert answer.status_code == 401
    assert not [one for one in browser.cookies if "before" not in one]


def test_a_token_signs_in_under_the_name_that_is_given_with_it(console: Console) -> None:
    token = add_token(console.folder.path, "ab12", "operator", "titian_secret")
    browser = console.browser()
    fields = {"token": token, "name": "Budi\n<b>"}
    assert browser.post("/login", fields, word=browser.word("/login")).status_code == 303
    browser.post("/act/pause", {"lane": "urgent", "reason": "x"})
    assert AuditFile(console.folder.path).read(1)[0]["who"] == "Budi <b> (token ab12)"
    tried = console.access.sign_in("10.0.0.9", "1806015201900001", "", token)
    session = console.access.sessions.get(tried.identity, console.clock.now_s())
    assert session is not None
    assert session.who.name == "token ab12", "a NIK is nobody's name"


def test_a_cookie_is_for_no_script_and_no_other_site_and_over_https_only_for_https(console: Console) -> None:
    plain, behind = console.browser(), console.browser("https://127.0.0.1:6381")
    for browser, secure in ((plain, False), (behind, True)):
        said = [one.lower() for one in browser.sign_in("siti").headers.get_list("set-cookie")]
        assert said
        assert all("httponly" in one and "samesite=strict" in one for one in said)
        assert all(("secure" in one) == secure for one in said)


def test_two_sides_on_one_machine_do_not_share_a_cookie(tmp_path: Path) -> None:
    sides = copied_sides(tmp_path)
    assert console_of(sides.region).access.cookie != console_of(sides.center).access.cookie


def test_signing_out_ends_it_for_this_browser_alone(console: Console) -> None:
    here, there = console.signed_in("siti"), console.signed_in("siti")
    kept = dict(here.cookies)
    assert here.post("/logout", {}).headers["location"] == "/login"
    here.cookies.update(kept)  # a copied cookie opens nothing any more
    assert here.get("/").status_code == 303
    assert there.get("/").status_code == 200


def test_it_ends_after_so_long_without_a_request(console: Console) -> None:
    browser, idle_s = console.signed_in("siti"), console.folder.settings.console.session_s
    console.clock.advance(idle_s - 1)
    assert browser.get("/").status_code == 200
    console.clock.advance(idle_s - 1)
    assert browser.get("/").status_code == 200
    console.clock.advance(idle_s + 1)
    assert browser.get("/").status_code == 303


def test_whoever_is_removed_or_gets_another_password_or_role_is_out_at_once(console: Console) -> None:
    users = console.access.users
    for change in (
        lambda known: known.without_user("siti"),
        lambda known: known.with_user("siti", User("operator", 0, hash_password("another password", CHEAP))),
        lambda known: known.with_user("siti", User("reader", 0, known.users["siti"].password)),
    ):
        add_user(console.folder.path, "siti", "operator")
        browser = console.signed_in("siti")
        assert browser.get("/").status_code == 200
        users.change(change)
        assert browser.get("/").status_code == 303


# --- tokens of programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["reader", "operator"])
def test_a_token_in_a_header_reads_and_does_nothing(console: Console, role: Role) -> None:
    token = add_token(console.folder.path, "ab12", role, "titian_secret")
    headers = {"authorization": f"Bearer {token}"}
    program = console.browser(address="10.0.0.9")
    for path in ("/api/depth", "/metrics"):
        assert program.get(path).status_code in (303, 401, 403)
        assert program.get(path, **headers).status_code == 200
    asked = program.ask("POST", "/api/trace", json={"q": "1806-aaaaaa-000001"}, headers=headers)
    assert asked.status_code == 404
    did = program.ask("POST", "/act/pause", json={"lane": "", "reason": "x"}, headers=headers)
    assert did.status_code == 403
    assert program.get("/api/depth", authorization="Bearer titian_secre").status_code == 401


def test_metrics_are_for_this_machine_and_not_for_a_page_that_took_its_address(console: Console) -> None:
    here, there = console.browser(), console.browser(address="10.0.0.9")
    assert here.get("/metrics").status_code == 200
    assert there.get("/metrics").status_code == 403
    assert here.get("/metrics", host="evil.example").status_code == 403
    assert here.get("/metrics", **{"x-forwarded-for": "10.0.0.9"}).status_code == 403


# --- trying passwords -----------------------------------------------------------------------------


def test_after_some_tries_an_address_has_to_wait_and_others_need_not() -> None:
    attempts = Attempts()
    assert [attempts.wait_s("10.0.0.9", 0.0) for _ in range(ADDRESS_TRIES)] == [0.0] * ADDRESS_TRIES
    assert attempts.wait_s("10.0.0.9", 0.0) == pytest.approx(ADDRESS_EACH_S)
    assert attempts.wait_s("10.0.0.8", 0.0) == 0.0
    assert attempts.wait_s("10.0.0.9", ADDRESS_EACH_S) == 0.0
    assert attempts.wait_s("10.0.0.9", ADDRESS_EACH_S) > 0.0


def test_what_was_right_fills_only_ones_own_bucket() -> None:
    attempts = Attempts()
    for _ in range(ADDRESS_TRIES):
        attempts.wait_s("10.0.0.9", 0.0)
    attempts.was_right("10.0.0.9")
    assert attempts.wait_s("10.0.0.9", 0.0) == 0.0


def test_one_ipv6_network_is_one_address_and_mapped_ones_are_ipv4() -> None:
    attempts = Attempts()
    for n in range(ADDRESS_TRIES):
        attempts.wait_s(f"2001:db8::{n:x}", 0.0)
        attempts.wait_s("::ffff:10.0.0.9", 0.0)
    assert attempts.wait_s("2001:db8::ffff:1", 0.0) > 0
    assert attempts.wait_s("2001:db8:0:1::1", 0.0) == 0
    assert attempts.wait_s("10.0.0.9", 0.0) > 0


def test_many_addresses_together_have_to_wait_as_well_and_cost_no_more_memory() -> None:
    attempts = Attempts()
    waits = [attempts.wait_s(f"10.0.{n // 250}.{n % 250}", 0.0) for n in range(2 * ADDRESSES_MAX)]
    assert [bool(wait) for wait in waits] == [False] * ALL_TRIES + [True] * (2 * ADDRESSES_MAX - ALL_TRIES)
    assert len(attempts._by_address) == ADDRESSES_MAX


def test_the_console_says_for_how_long_to_wait(console: Console) -> None:
    browser = console.browser(address="10.0.0.9")
    word = browser.word("/login")
    fields = {"name": "siti", "password": "wrong password"}
    for _ in range(ADDRESS_TRIES):
        assert browser.post("/login", fields, word=word).status_code == 401
    right = {"name": "siti", "password": PASSWORD}
    answer = browser.post("/login", right, word=word)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= ADDRESS_EACH_S
    console.clock.advance(ADDRESS_EACH_S)
    assert browser.post("/login", right, word=word).status_code == 303


def test_sessions_are_bounded_and_the_oldest_goes() -> None:
    sessions = Sessions(60.0)
    first = sessions.begin(Who("a", "reader", ""), 0.0)
    for _ in range(SESSIONS_MAX):
        last = sessions.begin(Who("b", "reader", ""), 0.0)
    assert sessions.get(first, 1.0) is None
    assert sessions.get(last, 1.0) is not None


def test_a_password_is_kept_as_a_costly_hash_with_a_salt_of_its_own() -> None:
    one, other = hash_password(PASSWORD, CHEAP), hash_password(PASSWORD, CHEAP)
    assert one.hash != other.hash
    assert is_password(one, PASSWORD)
    assert not is_password(one, PASSWORD + " ")
    assert not is_password(one._replace(hash="zz"), PASSWORD)
    assert not is_password(one._replace(n=1 << 40), PASSWORD), "a file of others cannot ask for all memory"
    for wrong in ("short", "x" * 1000):
        with pytest.raises(ValueError, match="characters"):
            hash_password(wrong, CHEAP)


# --- under which name -----------------------------------------------------------------------------


def test_a_page_that_gave_its_own_name_our_address_gets_nothing(console: Console) -> None:
    browser = console.signed_in("siti")
    for path in ("/", "/login", "/api/depth", "/static/console.css", "/nix"):
        assert browser.get(path, host="evil.example").status_code == 421
        assert browser.get(path, host="evil.example:6381").status_code == 421
    assert browser.get("/healthz", host="region-1806.lan").status_code in (200, 503)


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("127.0.0.1:6381", True),
        ("10.0.0.5", True),
        ("[::1]:6381", True),
        ("localhost:6381", True),
        ("KANTOR.example:6381", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_an_address_is_always_ours_and_a_name_only_where_it_was_given(header: str, ours: bool) -> None:
    assert is_ours(header, frozenset({listen_host("kantor.example:6381")})) == ours


def test_where_only_this_machine_listens() -> None:
    assert [is_here(listen_host(one)) for one in ("", "127.0.0.1:1", "[::1]:1", "localhost:1", ":1")] == [
        True
    ] * 5
    assert not any(is_here(listen_host(one)) for one in ("0.0.0.0:1", "10.0.0.5:1", "[::]:1", "kantor:1"))


def test_nobody_signs_in_where_others_reach_it_and_there_is_no_user(
    region: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_CONSOLE__LISTEN", "0.0.0.0:6381")
    token = add_token(region, "ab12", "operator", "titian_secret")
    console = Console(open_folder(region))
    browser = console.browser()
    answer = browser.post("/login", {"token": token}, word=browser.word("/login"))
    assert answer.status_code == 403
    assert "titian console users add" in answer.text
    add_user(region, "siti", "operator")
    assert browser.sign_in("siti").status_code == 303


# --- the users' file ------------------------------------------------------------------------------


def test_a_users_file_that_cannot_be_read_lets_nobody_in(console: Console) -> None:
    browser = console.signed_in("siti")
    path = console.access.users.path
    assert path.stat().st_mode & 0o777 == 0o600
    whole = json.loads(path.read_text())
    for text in (
        "",
        "[]",
        "{}",
        json.dumps({**whole, "version": 2}),
        '{"version": 1, "users": {"siti": {}}}',
    ):
        path.write_text(text)
        with pytest.raises(StoreDamaged):
            console.access.users.read()
        assert browser.get("/").status_code == 303


def test_a_users_name_is_short_and_no_nik() -> None:
    assert check_name(" Siti.A@kantor ") == "siti.a@kantor"
    for wrong in ("", "a b", "<b>", "x" * 41, "1806015201900001"):
        with pytest.raises(UsageError):
            check_name(wrong)


# --- the commands ---------------------------------------------------------------------------------


def test_a_user_is_added_changed_and_removed_and_that_is_written_down(titian: Titian, region: Path) -> None:
    said = titian.ok("console", "users", "add", "Siti", "-", "--role", "reader", "--data", region, "--json",
                     stdin=b"a long password\n")  # fmt: skip
    assert said.json == {"version": 1, "user": "siti", "role": "reader"}
    file = UserFile(region)
    assert file.read().signs_in("siti", "a long password") is not None
    assert (
        titian("console", "users", "add", "siti", "-", "--data", region, stdin=b"a long password").code == 2
    )
    titian.ok("console", "users", "passwd", "siti", "-", "--data", region, stdin=b"another password\n")
    assert file.read().signs_in("siti", "a long password") is None
    assert file.read().users["siti"].role == "reader"
    found = titian.ok("console", "users", "list", "--data", region, "--json").json["found"]
    assert [(one["what"], one["name"], one["role"]) for one in found] == [("user", "siti", "reader")]
    titian.ok("console", "users", "remove", "siti", "--data", region)
    assert titian("console", "users", "remove", "siti", "--data", region).code == 1
    acts = [one["what"] for one in AuditFile(region).read(10)]
    assert acts == ["console user removed", "console password changed", "console user added"]
    assert "password" not in (region / "audit.ndjson").read_text().replace("password changed", "")


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        (("siti", "-"), b"short\n"),
        (("siti", "a long password"), b""),
        (("siti",), b"a long password\n"),
        (("siti", "-", "--role", "king"), b"a long password\n"),
        (("1806015201900001", "-"), b"a long password\n"),
    ],
)
def test_what_is_no_user_is_refused(
    titian: Titian, region: Path, args: tuple[str, ...], stdin: bytes
) -> None:
    assert titian("console", "users", "add", *args, "--data", region, stdin=stdin).code == 2
    assert not UserFile(region).read().users


def test_the_first_token_is_made_and_shown_once(titian: Titian, region: Path) -> None:
    first = titian.ok("console", "--data", region, "--json").json
    assert first["token"].startswith("titian_")
    assert (first["url"], first["served"], first["tokens"]) == ("http://127.0.0.1:6381/", False, 1)
    assert first["token"] not in (region / "console-users.json").read_text()
    assert titian.ok("console", "--data", region, "--json").json["token"] is None
    found = UserFile(region).read().token(first["token"])
    assert found is not None
    assert found[1].role == "operator"


def test_a_new_token_ends_the_others_only_if_it_is_asked_for(titian: Titian, region: Path) -> None:
    made = [titian.ok("console", "token", "--data", region).out.strip() for _ in range(2)]
    known = UserFile(region).read()
    assert all(known.token(one) for one in made)
    last = titian.ok("console", "token", "--new", "--data", region, "--json").json["token"]
    known = UserFile(region).read()
    assert [known.token(one) is not None for one in (*made, last)] == [False, False, True]


def test_where_others_reach_it_no_token_is_made_and_a_user_is_asked_for(
    titian: Titian, region: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITIAN_CONSOLE__LISTEN", "0.0.0.0:6381")
    said = titian.ok("console", "--data", region, "--json").json
    assert (said["token"], said["open_to_others"]) == (None, True)
    assert "users add" in said["sign_in"]
