"""
The page as a whole, and the log-in form.
"""

from __future__ import annotations

from twisted.web.template import Tag

from post import __version__
from post.front.web import own, sections
from post.front.web.words import Child, count, el
from post.health.alerts import alerts
from post.health.facts import Facts, Mailbox

RELOAD_S = 30
"""Between two loads of the page in a browser without JavaScript."""
DOCTYPE = b"<!DOCTYPE html>\n"


def _document(title: str, *body: Child, live: bool = False) -> Tag:
    reload = el("noscript", el("meta", http_equiv="refresh", content=RELOAD_S)) if live else ""
    return el(
        "html",
        el(
            "head",
            el("meta", charset="utf-8"),
            el("meta", name="viewport", content="width=device-width, initial-scale=1"),
            el("meta", name="color-scheme", content="light dark"),
            el("meta", name="robots", content="noindex"),
            el("title", title),
            el("link", rel="icon", href="/icon.svg", type="image/svg+xml"),
            el("link", rel="stylesheet", href="/style.css"),
            el("script", src="/live.js", defer=True) if live else "",
            reload,
        ),
        el("body", *body),
        lang="en",
    )


def _brand() -> Tag:
    return el("a", _mark(), el("span", "POST"), href="/", class_="brand")


def _mark() -> Tag:
    """
    A ring with a letter in it.
    """
    return el(
        "svg",
        el("circle", cx=16, cy=16, r=13, class_="mark-ring"),
        el("path", d="M9 12h14v9H9zM9 12l7 5.5 7-5.5", class_="mark-letter"),
        viewBox="0 0 32 32",
        class_="mark",
        aria_hidden="true",
    )


def login_page(token: str, trouble: str = "") -> Tag:
    """
    The form, and nothing of what only its people may know.
    """
    return _document(
        "Log in · POST",
        el("header", _brand(), class_="bar-top"),
        el(
            "main",
            el("h1", "Log in"),
            el("p", "With the address and password that your mail program uses.", class_="quiet"),
            el("p", trouble, class_="trouble", role="alert") if trouble else "",
            el(
                "form",
                el("input", type="hidden", name="token", value=token),
                el("label", "Address", for_="name"),
                el(
                    "input",
                    id="name",
                    name="name",
                    type="text",
                    autocomplete="username",
                    autocapitalize="none",
                    spellcheck="false",
                    required=True,
                    autofocus=True,
                    maxlength=320,
                ),
                el("label", "Password", for_="password"),
                el(
                    "input",
                    id="password",
                    name="password",
                    type="password",
                    autocomplete="current-password",
                    required=True,
                    maxlength=1000,
                ),
                el("button", "Log in", type="submit"),
                method="post",
                action="/login",
            ),
            id="login",
            class_="login",
        ),
    )


def page(facts: Facts, mailbox: Mailbox, token: str) -> Tag:
    """
    What C{mailbox}'s owner sees.
    """
    found = [alert for alert in alerts(facts) if alert.address in ("", mailbox.address)]
    status = facts.status
    logout = el(
        "form",
        el("input", type="hidden", name="token", value=token),
        el("span", mailbox.address, class_="who"),
        el("button", "Log out", type="submit", class_="plain"),
        method="post",
        action="/logout",
    )
    state = (
        sections.pill(f"Connected · {count(facts.ring_size, 'node')}", "good")
        if status.active
        else sections.pill("Connecting…", "alarm")
    )
    return _document(
        f"{'' if not found else f'({len(found)}) '}{status.name} · POST",
        el("a", "To the content", href="#content", class_="skip"),
        el(
            "header",
            _brand(),
            el("span", status.name, class_="node-name"),
            el("span", state, id="state", data_live=True, role="status"),
            logout,
            class_="bar-top",
        ),
        el(
            "main",
            el("h1", f"POST on {status.name}", class_="unseen"),
            sections.warnings(found),
            el(
                "div",
                el(
                    "div",
                    own.mail(facts, mailbox),
                    own.sent(facts, mailbox),
                    own.leaving(facts, mailbox),
                    class_="column",
                ),
                el(
                    "div",
                    sections.ring(facts),
                    sections.connection(facts),
                    sections.machine(facts),
                    sections.certificates(facts, mailbox.address),
                    class_="column",
                ),
                class_="grid",
            ),
            id="content",
        ),
        el(
            "footer",
            el("p", f"POST {__version__} · node ", el("code", status.node_id[:8]), f" · {facts.domain}"),
            el("p", f"This page loads itself anew every {RELOAD_S} seconds.", id="age"),
        ),
        live=True,
    )
