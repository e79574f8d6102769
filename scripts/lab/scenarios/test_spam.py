"""The spam rules are in the image: nothing was fetched, and they work."""

from __future__ import annotations

from clients import STRANGER, Clients, new_message, parse

#: The subject that the filter must take for spam (GTUBE).
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def test_spam_is_filed(clients: Clients) -> None:
    """Rated spam goes to the junk folder, an ordinary message to the inbox."""
    spam = new_message(GTUBE, STRANGER, clients.account.address)
    ham = new_message("no spam", STRANGER, clients.account.address)
    with clients.smtp() as smtp:
        # Such obvious spam may be refused outright, which is as good.
        smtp.ehlo()
        smtp.mail(STRANGER)
        smtp.rcpt(clients.account.address)
        code, _ = smtp.data(bytes(spam))
    clients.deliver(ham)
    assert parse(clients.wait_message(ham))["X-Spam-Status"].startswith("No")
    if code == 250:
        assert parse(clients.wait_message(spam, "Junk Mail"))["X-Spam-Status"].startswith("Yes")
        clients.delete(spam, "Junk Mail")
    assert not clients.has_message(spam)
