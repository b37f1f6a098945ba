"""Who is revoked is out at once, for good, and with the reason; and is let in again when that is taken back."""
import http.client
import json
import urllib.parse

from harness import function_dn, process_dn, wait_for


def members_of(site, identity):
    """DNs of the functions that the plan chose."""
    plan = site.container(process_dn(identity), "decision")["plan"]
    return [each["dn"] for each in plan["candidates"][plan["chosen"]]["members"]]


def kept_connection(site, name):
    """An HTTPS connection that has been used and stays open."""
    client = site.client(name)
    connection = http.client.HTTPSConnection(client.host, client.port, context=client.context, timeout=20)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return connection


def test_revoked_function_is_out_and_its_job_ends_with_the_reason(own_site):
    site = own_site
    site.submit("stolen", aIMLInferenceName="ENDLESS")
    site.wait_training("stolen")
    dn = members_of(site, "stolen")[0]
    name, other = ("gnb-1", "gnb-2") if dn == function_dn("gnb-1") else ("gnb-2", "gnb-1")
    assert site.run("ca", "revoke", dn, "--reason", "box stolen", name="viewer").returncode == 2
    assert site.status("stolen") == "RUNNING"

    order = site.run_json("ca", "revoke", dn, "--reason", "box stolen")
    assert order["by"] == "muster://consumer/admin" and order["subject"].startswith("identity:muster://function/")
    site.wait_status("stolen", "CANCELLED", seconds=20)
    reason = site.reason("stolen")
    assert reason.startswith("SYSTEM:") and dn in reason and "revoked" in reason and "box stolen" in reason, reason
    assert dn not in site.connected()
    wait_for("the agent being refused", lambda: "box stolen" in site.functions[name].words())
    done = [line for line in site.audit() if "/muster/v1/revocations/" in line["object"]]
    assert [line["outcome"] for line in done] == ["refused", "done"]
    assert urllib.parse.unquote(done[1]["object"]).endswith(order["subject"])

    # The others go on, and the producer remembers over a kill.
    site.wait_connected(other)
    site.submit("without")
    site.wait_status("without", "FINISHED")
    assert members_of(site, "without") == [function_dn(other)]
    site.producer.kill()
    site.start_producer()
    site.wait_connected(other)
    assert [each["reason"] for each in site.run_json("ca", "revocations")] == ["box stolen"]
    assert dn not in site.connected()
    refused = site.run("function", "enroll", "--dn", dn)
    assert refused.returncode == 2 and "revoked" in refused.stderr, refused.stderr

    assert site.run("ca", "restore", dn).returncode == 0
    assert site.run_json("ca", "revocations") == []
    site.nothing_left()


def test_revoked_certificate_is_closed_at_once_and_another_of_the_same_name_is_not(own_site):
    site = own_site
    connection = kept_connection(site, "viewer")
    other = kept_connection(site, "stranger")
    order = site.run_json("ca", "revoke", site.folder / "viewer.pem", "--reason", "laptop lost")
    assert order["subject"].startswith("serial:")
    connection.sock.settimeout(10)
    assert connection.sock.recv(1) == b"", "the open connection is ended"
    other.request("GET", "/healthz")
    assert other.getresponse().status == 200
    refused = site.client("viewer").get("SubNetwork=1")
    assert refused.status == 403 and "laptop lost" in refused.words()
    site.authority.issue(site.folder / "viewer", "--consumer", "viewer")
    assert site.client("viewer").get("SubNetwork=1").status == 200
    assert site.run("ca", "restore", order["subject"]).returncode == 0


def test_orders_that_name_nobody(site, tmp_path):
    for who, words in (("nobody", "no identity"), ("muster://nobody/x", "no identity"), (tmp_path, "no identity")):
        done = site.run("ca", "revoke", who, "--reason", "x")
        assert done.returncode == 4 and words in done.stderr, done.stderr
    assert site.run("ca", "restore", "0a0b").returncode == 4
    assert site.run("ca", "revocations", name="viewer").returncode == 2
    assert json.loads(site.run("ca", "revocations", "--output", "json").stdout) == []
