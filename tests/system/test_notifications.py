"""Subscriptions: delivery over HTTPS to recipients that the operator allows."""
import http.server
import json
import ssl
import threading
import time

import pytest

import keys
from conftest import running_site
from harness import OWN, Authority, request_dn, wait_for


class Recipient:
    """An HTTPS server that keeps what it gets, and wants the producer's certificate."""

    def __init__(self, pair, authority):
        received, callers = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                callers.append([name for kind, name in self.connection.getpeercert().get("subjectAltName", ())
                                if kind == "URI"])
                received.append((self.path, json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.received, self.callers = received, callers
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, pair))
        context.load_verify_locations(str(authority))
        context.verify_mode = ssl.CERT_REQUIRED
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def of_type(self, kind):
        return [body for _, body in self.received if body.get("notificationType") == kind]

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def listening(tmp_path_factory, tables):
    """A site that allows one recipient, which listens, and one that is dead."""
    folder = tmp_path_factory.mktemp("listening")
    # The recipients' ports must be known before the producer starts, their keys come from its CA: two steps.
    authority = Authority(folder / "ca")
    trusted = authority.certificate, folder / "ca" / "ca.key"
    pair = keys.make(folder, "recipient", trusted, [], hosts=["localhost"])
    recipient = Recipient(pair, authority.certificate)
    allowed = [f"https://localhost:{recipient.port}/inbox", "https://localhost:1"]
    sites = running_site(folder, tables, ("gnb-1",), authority=authority,
                         producer={"notification_recipients": allowed})
    try:
        site = next(sites)
        site.recipient = recipient
        yield site
    finally:
        for _ in sites:
            pass
        recipient.close()


def subscribe(site, identity, address, **changes):
    return site.client().put(f"SubNetwork=1,NtfSubscriptionControl={identity}", {
        "notificationRecipientAddress": address,
        "notificationTypes": ["notifyMOICreation", "notifyMOIDeletion", "notifyMOIAttributeValueChanges"],
        "scope": {"scopeType": "BASE_ALL"}, **changes})


def inbox(site, path="/inbox"):
    return f"https://localhost:{site.recipient.port}{path}"


def test_recipient_that_is_not_allowed(listening):
    port = listening.recipient.port
    for address in ("https://localhost:9999/inbox", f"https://localhost:{port}/other", f"http://localhost:{port}/inbox",
                    f"https://localhost:{port}.example/inbox", f"https://localhost:{port}/inboxes",
                    f"https://user@localhost:{port}/inbox", "no address"):
        answer = subscribe(listening, "refused", address)
        assert answer.status == 400, address
        assert answer.problem_places()[0] == "/attributes/notificationRecipientAddress"
    assert listening.client().get("SubNetwork=1,NtfSubscriptionControl=refused").status == 404


def test_unknown_type_and_filter(listening):
    answer = subscribe(listening, "bad", inbox(listening), notificationTypes=["notifyMOICreations"])
    assert answer.status == 400 and "notifyMOICreation" in answer.words()
    assert subscribe(listening, "bad", inbox(listening), notificationFilter="//x").status == 400


def test_subscribing_needs_its_own_permission(listening):
    answer = listening.client("viewer").put("SubNetwork=1,NtfSubscriptionControl=mine", {
        "notificationRecipientAddress": inbox(listening)})
    assert answer.status == 403 and "subscribe" in answer.words()


def test_a_job_is_told_in_order_although_another_subscriber_is_dead(listening):
    site, recipient = listening, listening.recipient
    assert subscribe(site, "dead", "https://localhost:1/inbox").status in (200, 201)
    assert subscribe(site, "alive", inbox(site)).status in (200, 201)
    site.submit("told")
    site.wait_status("told", "FINISHED")

    def told():
        values = [change for body in recipient.of_type("notifyMOIAttributeValueChanges")
                  for change in body["attributeListValueChanges"]] if recipient.received else []
        return "FINISHED" in json.dumps(values)

    wait_for("the end of the job in the inbox", told, 20.0)

    def created():
        return [body["href"] for body in recipient.of_type("notifyMOICreation")]

    for name in ("MLTrainingRequest=told", "MLTrainingProcess=told", "MLTrainingReport=told"):
        wait_for(f"the creation of {name} in the inbox", lambda: any(href.endswith(name) for href in created()), 20.0)
    for path, body in recipient.received:
        assert path == "/inbox"
        assert {"href", "notificationId", "notificationType", "eventTime", "systemDN"} <= set(body), body
    first_change = next(index for index, (_, body) in enumerate(recipient.received)
                        if body["notificationType"] == "notifyMOIAttributeValueChanges"
                        and body["href"].endswith("MLTrainingProcess=told"))
    creation = next(index for index, (_, body) in enumerate(recipient.received)
                    if body["notificationType"] == "notifyMOICreation" and body["href"].endswith("MLTrainingProcess=told"))
    assert creation < first_change
    assert recipient.callers[0] == ["muster://producer/" + OWN]
    assert site.client().get(request_dn("told")).status == 200


def test_deletions_are_told_and_scope_counts(listening):
    site, recipient = listening, listening.recipient
    assert site.client().delete("SubNetwork=1,NtfSubscriptionControl=alive").status == 204
    assert subscribe(site, "narrow", inbox(site, "/inbox/narrow"), notificationTypes=["notifyMOIDeletion"]).status == 201
    before = len(recipient.received)
    site.submit("deleted")
    site.wait_status("deleted", "FINISHED")
    site.wait_connected()
    assert site.client().delete(request_dn("deleted")).status == 204
    wait_for("the deletion in the inbox", lambda: len(recipient.received) > before, 20.0)
    path, body = recipient.received[before]
    assert path == "/inbox/narrow" and body["notificationType"] == "notifyMOIDeletion"
    assert body["href"].endswith("MLTrainingRequest=deleted")


def test_notifications_survive_a_killed_producer(listening):
    """What was not delivered waits in the store."""
    site, recipient = listening, listening.recipient
    assert subscribe(site, "durable", inbox(site, "/inbox/durable"), notificationTypes=["notifyMOICreation"]).status == 201
    site.submit("durable")
    site.producer.kill()
    site.start_producer()
    wait_for("the creation in the inbox", lambda: any(
        path == "/inbox/durable" and body["href"].endswith("MLTrainingRequest=durable")
        for path, body in recipient.received), 30.0)
    site.wait_status("durable", "FINISHED")
    site.wait_connected()


def test_progress_is_coalesced(listening):
    """Many steps, at most about one change of progress a second."""
    site, recipient = listening, listening.recipient
    assert subscribe(site, "progress", inbox(site, "/inbox/progress"),
                     notificationTypes=["notifyMOIAttributeValueChanges"]).status == 201
    site.submit("busy", aIMLInferenceName="ENDLESS")
    site.wait_training("busy")
    started = time.monotonic()

    def changes():
        return [body for path, body in recipient.received if path == "/inbox/progress"
                and body["href"].endswith("MLTrainingProcess=busy/VsDataContainer=progress")]

    before = len(changes())
    wait_for("three more changes of progress", lambda: len(changes()) >= before + 3, 15.0)
    assert time.monotonic() - started > 1.5
    site.cancel("busy")
    site.wait_status("busy", "CANCELLED")
    site.nothing_left()
