"""
Tests for L{post.mail.report}.
"""

from __future__ import annotations

import dataclasses
import email
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from email.utils import parsedate_to_datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.mail.report import LINE_LIMIT, RECIPIENTS_LIMIT, RETURNED_LIMIT, Action, Fate, Report, write_report

MESSAGE = b"Message-ID: <m1@x.org>\r\nFrom: alice@example.org\r\nSubject: lunch\r\n\r\nAt noon?\r\n"
BOB = Fate("bob@example.org", Action.FAILED, "5.4.7", "It was not fetched in time.", until=1_700_000_000)
REPORT = Report("d1", "example.org", "alice@example.org", 1_700_000_100, 1_699_000_000, (BOB,), MESSAGE)


def read(report: Report) -> EmailMessage:
    """
    What a mail program makes of a report.
    """
    return parsed(write_report(report))


def parsed(octets: bytes) -> EmailMessage:
    """
    The same of octets.
    """
    message = email.message_from_bytes(octets, policy=default)
    assert isinstance(message, EmailMessage)
    return message


def groups(report: Report) -> list[EmailMessage]:
    """
    The groups of fields in the part for programs: of the message, then of each recipient.
    """
    # Python's parser knows only the older of the two types, which have the same form.
    octets = write_report(report).replace(b"message/global-delivery-status", b"message/delivery-status")
    payload = list(parsed(octets).iter_parts())[1].get_payload()
    assert isinstance(payload, list)
    return [each for each in payload if isinstance(each, EmailMessage)]


class ReportTests(SynchronousTestCase):
    """
    Tests for L{write_report}.
    """

    def test_failed(self) -> None:
        """
        A report of what was not delivered says so in its subject, its words and its fields, gives back the header, goes
        to the sender, and is automatic.
        """
        message = read(REPORT)
        self.assertEqual([], message.defects)
        self.assertEqual("alice@example.org", message["to"].addresses[0].addr_spec)
        self.assertEqual("postmaster@example.org", message["from"].addresses[0].addr_spec)
        self.assertEqual("auto-replied", message["auto-submitted"])
        self.assertEqual("<d1@example.org>", message["message-id"])
        self.assertEqual(("<m1@x.org>",) * 2, (message["in-reply-to"], message["references"]))
        self.assertEqual(datetime.fromtimestamp(REPORT.date, UTC), message["date"].datetime)
        self.assertEqual(("multipart/report", "delivery-status"), (message.get_content_type(), report_type(message)))
        words, fields, returned = message.iter_parts()
        self.assertIn("NOT delivered", words.get_content())
        self.assertIn("It was not fetched in time.", words.get_content())
        self.assertIn("Tue, 14 Nov 2023 22:13:20", words.get_content())
        self.assertEqual("message/delivery-status", fields.get_content_type())
        of_message, of_bob = groups(REPORT)
        self.assertEqual("dns; example.org", of_message["reporting-mta"])
        self.assertEqual(1_699_000_000, parsedate_to_datetime(of_message["arrival-date"]).timestamp())
        self.assertEqual(
            ["rfc822; bob@example.org", "failed", "5.4.7"],
            [of_bob[name] for name in ("final-recipient", "action", "status")],
        )
        self.assertEqual("text/rfc822-headers", returned.get_content_type())
        self.assertEqual(MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n", returned.get_payload(decode=True))

    def test_delayed(self) -> None:
        """
        Of what is delayed is said when it was tried last and until when it will be, who said what, and that nothing
        need be done.
        """
        fate = Fate(
            "c@out.example",
            Action.DELAYED,
            "4.4.1",
            "Their server does not answer.",
            "451 try later",
            remote="mx.out.example",
            tried=1_700_000_000,
            until=1_700_100_000,
            addressed="C@out.example",
        )
        report = dataclasses.replace(REPORT, fates=(fate,), envelope_id="E1")
        message = read(report)
        of_message, of_fate = groups(report)
        self.assertEqual("E1", of_message["original-envelope-id"])
        self.assertEqual("rfc822; C@out.example", of_fate["original-recipient"])
        self.assertEqual("smtp; 451 try later", of_fate["diagnostic-code"])
        self.assertEqual("dns; mx.out.example", of_fate["remote-mta"])
        self.assertEqual(1_700_000_000, parsedate_to_datetime(of_fate["last-attempt-date"]).timestamp())
        self.assertEqual(1_700_100_000, parsedate_to_datetime(of_fate["will-retry-until"]).timestamp())
        self.assertIn("delayed", message["subject"])
        self.assertIn("need not do anything", next(message.iter_parts()).get_content())

    def test_several(self) -> None:
        """
        Each recipient has a group of fields of its own; the subject says the worst.
        """
        others = [
            Fate(f"{action.value}@example.org", action, "2.0.0", "So.") for action in (Action.RELAYED, Action.DELIVERED)
        ]
        report = dataclasses.replace(REPORT, fates=(*others, BOB))
        self.assertEqual(["relayed", "delivered", "failed"], [group["action"] for group in groups(report)[1:]])
        self.assertEqual("Your message could not be delivered", read(report)["subject"])

    def test_whole(self) -> None:
        """
        The message itself is given back if that is wanted, it is all there, is short, and has lines that every server
        takes; otherwise its header is.
        """
        for message, size, kind in (
            (MESSAGE, len(MESSAGE), "message/rfc822"),
            (MESSAGE, len(MESSAGE) + 1, "text/rfc822-headers"),
            (MESSAGE + b"x\r\n" * RETURNED_LIMIT, 0, "text/rfc822-headers"),
            (MESSAGE + b"a\rb", 0, "text/rfc822-headers"),
            (MESSAGE + b"x" * (LINE_LIMIT + 1), 0, "text/rfc822-headers"),
            ("Subject: für\r\n\r\nhi".encode(), 0, "message/global-headers"),
            (b"Subject: f\xfcr\r\n\r\nhi", 0, "text/rfc822-headers"),
        ):
            report = dataclasses.replace(REPORT, message=message, size=size, whole=True)
            self.assertEqual(kind, list(read(report).iter_parts())[2].get_content_type(), message[-20:])
        self.assertIn(MESSAGE, write_report(dataclasses.replace(REPORT, message=MESSAGE, whole=True)))
        self.assertEqual(2, len(list(read(dataclasses.replace(REPORT, message=b"")).iter_parts())))

    def test_international(self) -> None:
        """
        An address beyond ASCII stands in a report of RFC 6533, as it is.
        """
        report = dataclasses.replace(REPORT, fates=(dataclasses.replace(BOB, recipient="zoë@example.org"),))
        message = read(report)
        words, fields, _ = message.iter_parts()
        self.assertEqual("message/global-delivery-status", fields.get_content_type())
        self.assertIn("Final-Recipient: utf-8; zoë@example.org\r\n".encode(), write_report(report))
        self.assertIn("zoë@example.org", words.get_content())

    def test_boundary(self) -> None:
        """
        A message which contains the boundary is still one part.
        """
        message = b"Subject: x\r\n\r\n--=_0_d1--\r\n--=_1_d1\r\nhi\r\n"
        found = read(dataclasses.replace(REPORT, message=message, whole=True))
        self.assertEqual("=_2_d1", found.get_boundary())
        self.assertEqual(3, len(list(found.iter_parts())))

    def test_refused(self) -> None:
        """
        What is no report of anything is refused.
        """
        for wrong in (
            {"fates": ()},
            {"fates": (BOB,) * (RECIPIENTS_LIMIT + 1)},
            {"name": "a b"},
            {"name": "a\r\nX: y"},
            {"fates": (dataclasses.replace(BOB, status="5"),)},
            {"fates": (dataclasses.replace(BOB, diagnostic="x", kind="a b"),)},
        ):
            with self.assertRaises(ValueError):
                write_report(dataclasses.replace(REPORT, **wrong))

    @given(
        st.lists(
            st.builds(
                Fate,
                st.text(max_size=400),
                st.sampled_from(Action),
                st.just("5.0.0"),
                st.text(max_size=900),
                st.text(max_size=900),
                remote=st.text(max_size=100),
                addressed=st.text(max_size=400),
                tried=st.none() | st.integers(0, 1 << 32),
                until=st.none() | st.integers(0, 1 << 32),
            ),
            min_size=1,
            max_size=3,
        ),
        st.binary(max_size=300) | st.text("aé\r\n: -\0", max_size=300).map(str.encode),
        st.text(max_size=100),
        st.booleans(),
    )
    def test_hostile(self, fates: list[Fate], message: bytes, envelope_id: str, whole: bool) -> None:
        """
        Whatever others wrote, a report has lines of a bounded length that end with CRLF, the fields that it should have
        and no others, and is the same octets again.
        """
        report = dataclasses.replace(REPORT, fates=tuple(fates), message=message, envelope_id=envelope_id, whole=whole)
        octets = write_report(report)
        self.assertEqual(octets, write_report(report))
        lines = octets.split(b"\r\n")
        self.assertEqual([], [line for line in lines if set(b"\r\n\0") & set(line) or len(line) > LINE_LIMIT])
        found = read(report)
        self.assertEqual(2 + bool(message), len(list(found.iter_parts())))
        head = octets.partition(b"\r\n\r\n")[0]
        self.assertEqual(head.count(b"\r\n") + 1, len(found.keys()) + 1, head)  # One field has two lines.
        known = {"original-recipient", "final-recipient", "action", "status", "remote-mta", "diagnostic-code"}
        known |= {"last-attempt-date", "will-retry-until"}
        _, *of_fates = groups(report)
        self.assertEqual(len(fates), len(of_fates))
        for fate, group in zip(fates, of_fates, strict=True):
            self.assertEqual(fate.action.value, group["action"])
            self.assertEqual(set(), {name.lower() for name in group} - known)
            self.assertEqual(len(set(group.keys())), len(group.keys()))


def report_type(message: EmailMessage) -> object:
    """
    The parameter that says what a multipart/report reports.
    """
    return message["content-type"].params["report-type"]
