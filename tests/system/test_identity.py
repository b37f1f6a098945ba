"""Who may come in, and who may do what: everybody else is refused, and the audit log says so."""
import base64
import contextlib
import datetime
import http.client
import socket
import ssl
import stat
import threading
import urllib.parse

import pytest

import harness
import keys
from harness import Authority, Client, function_dn, path_of, request_attributes, request_dn, wait_for

ADMIN = "muster://consumer/admin"


def function_uri(dn):
    return "muster://function/" + urllib.parse.quote(dn, safe="=,")


@pytest.fixture(scope="module")
def trusted(site):
    """Certificate and key of the CA that everybody trusts."""
    return site.authority.certificate, site.folder / "ca" / "ca.key"


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("foreign"))


def outcome(site, pair, method="GET", path="/healthz", body=None):
    """The status of an answer, or "tls" when there is no connection."""
    try:
        return Client(site.address, site.authority.certificate, *(pair or ())).request(method, path, body).status
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return "tls"


def control(site, pair):
    """The status of a WebSocket upgrade to the functions' channel."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode()}
    try:
        return Client(site.address, site.authority.certificate, *(pair or ())).request(
            "GET", "/muster/v1/control", headers=upgrade).status
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected):
        return "tls"


def last_audit(site, **wanted):
    return wait_for(f"audit line {wanted}", lambda: [
        line for line in site.audit() if all(wanted[key] in line[key] for key in wanted)])[-1]


# Consumers.


def test_without_a_certificate_nothing_is_open(site):
    for method, path in (("GET", "/healthz"), ("GET", "/metrics"), ("GET", path_of("SubNetwork=1")),
                         ("POST", "/muster/v1/tokens"), ("POST", "/muster/v1/renewal"), ("GET", "/nothing"),
                         ("GET", "/muster/v1/control")):
        assert outcome(site, None, method, path) == 401, path


def test_certificate_of_another_ca(site, foreign):
    pair = foreign.issue(foreign.folder / "admin", "--consumer", "admin")
    assert outcome(site, pair) in ("tls", 401)


def test_expired_and_not_yet_valid_certificates(site, trusted, tmp_path):
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    expired = keys.make(tmp_path, "expired", trusted, [ADMIN], lifetime=day, start=now - 2 * day)
    early = keys.make(tmp_path, "early", trusted, [ADMIN], lifetime=day, start=now + day)
    good = keys.make(tmp_path, "good", trusted, [ADMIN])
    assert outcome(site, expired) in ("tls", 401)
    assert outcome(site, early) in ("tls", 401)
    assert outcome(site, good) == 200


@pytest.mark.parametrize("uris", [
    [], ["https://consumer/admin"], ["muster://consumer/"], ["muster://admin/admin"], [ADMIN, "muster://consumer/x"],
    ["muster://consumer/admin/more"]], ids=str)
def test_wrong_san_may_nothing(site, trusted, tmp_path, uris):
    """It may be mapped by the policy; here it is not, so it is nobody who may do anything."""
    pair = keys.make(tmp_path, "wrong", trusted, uris)
    for method, path, body in (("GET", path_of("SubNetwork=1"), None), ("GET", "/muster/v1/functions", None),
                               ("PUT", path_of(request_dn("nobody")), {}), ("POST", "/muster/v1/tokens", {}),
                               ("POST", "/muster/v1/renewal", {})):
        assert outcome(site, pair, method, path, body) in (401, 403), path
    assert control(site, pair) in (401, 403)


def test_client_accepts_only_a_producer_as_its_producer(site, foreign):
    """A client that trusts another CA refuses the producer, and says why."""
    pair = foreign.issue(foreign.folder / "admin", "--consumer", "admin")
    file = foreign.folder / "client.yaml"
    file.write_text(f"{{server: '{site.address}', certificate: '{pair[0]}', key: '{pair[1]}', "
                    f"authority: '{foreign.certificate}'}}")
    done = harness.muster("list", client=file)
    assert done.returncode == 2 and "certificate" in done.stderr, done.stderr


@pytest.mark.parametrize("uris", [[], ["muster://consumer/admin"], [function_uri(function_dn("gnb-1"))]], ids=str)
def test_server_with_the_wrong_san_is_no_producer(site, trusted, tmp_path, uris):
    """A certificate of the right CA for the right host does not make a producer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, keys.make(tmp_path, "impostor", trusted, uris, hosts=["localhost"])))
    got = []

    def serve(listener):
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as secure:
                got.append(secure.recv(1000))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        file = tmp_path / "client.yaml"
        file.write_text(f"{{server: 'https://localhost:{listener.getsockname()[1]}', "
                        f"certificate: '{site.folder}/admin.pem', key: '{site.folder}/admin.key', "
                        f"authority: '{site.authority.certificate}'}}")
        done = harness.muster("list", client=file)
        thread.join()
    assert done.returncode == 2 and "producer" in done.stderr, done.stderr
    assert not any(got)  # not one byte of a request


def test_no_permission_names_caller_operation_and_object(site):
    before = site.client().objects()
    answer = site.client("viewer").put(request_dn("viewers"), request_attributes())
    assert answer.status == 403
    for word in ("muster://consumer/viewer", "create", request_dn("viewers")):
        assert word in answer.words()
    assert site.client().objects().keys() == before.keys()
    line = last_audit(site, caller="muster://consumer/viewer", operation="PUT")
    assert line["outcome"] == "refused" and line["object"].endswith("MLTrainingRequest=viewers") and line["reason"]


def test_default_deny(site):
    stranger = site.client("stranger")
    for method, path in (("GET", path_of("SubNetwork=1")), ("GET", "/muster/v1/recipes"), ("POST", "/muster/v1/plan"),
                         ("GET", "/muster/v1/functions"), ("DELETE", path_of("SubNetwork=1"))):
        assert stranger.request(method, path, {} if method == "POST" else None).status == 403, path
    assert last_audit(site, caller="muster://consumer/stranger", operation="GET")["outcome"] == "refused"
    assert stranger.request("GET", "/healthz").status == 200


@pytest.mark.parametrize("method,path,body", [
    ("POST", "/muster/v1/tokens", {"dn": "SubNetwork=1,MLTrainingFunction=x"}), ("POST", "/muster/v1/recipes", {}),
    ("POST", "/muster/v1/plan", {"attributes": {}}), ("GET", "/muster/v1/blobs/" + "0" * 64, None),
    ("PUT", "/muster/v1/blobs/" + "0" * 64, {}),
    ("POST", "/muster/v1/renewal", {})])
def test_a_viewer_only_reads(site, method, path, body):
    assert site.client("viewer").request(method, path, body).status == 403


def test_writes_and_refusals_are_in_the_audit_log(site, finished):
    line = last_audit(site, caller=ADMIN, operation="PUT", object=f"MLTrainingRequest={finished}", outcome="done")
    assert datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")) <= datetime.datetime.now(
        datetime.timezone.utc)
    assert outcome(site, None) == 401
    assert last_audit(site, caller="127.0.0.1", operation="GET")["outcome"] == "refused"
    file = site.folder / "state" / "audit.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_plain_http_is_refused(site):
    url = urllib.parse.urlsplit(site.address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 400
    connection.close()


def test_tls_1_2_is_refused(site):
    context = ssl.create_default_context(cafile=str(site.authority.certificate))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    url = urllib.parse.urlsplit(site.address)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with socket.create_connection((url.hostname, url.port), timeout=10) as plain:
            context.wrap_socket(plain, server_hostname=url.hostname)


def test_the_functions_channel_is_for_functions(site):
    assert control(site, None) == 401
    for name in ("admin", "viewer"):
        assert control(site, (site.folder / f"{name}.pem", site.folder / f"{name}.key")) == 403
    assert last_audit(site, operation="control", caller="muster://consumer/viewer")["outcome"] == "refused"


# Job certificates.


def test_job_certificates_are_for_the_data_plane_only(site, finished, trusted, tmp_path):
    """Refused by their chain, and by their role even if the chain were good."""
    state = site.folder / "state"
    uri = "muster://job/some-job/" + urllib.parse.quote(function_dn("gnb-1"), safe="")
    own_chain = keys.make(tmp_path, "job", (state / "job-ca.pem", state / "job-ca.key"), [uri])
    operators_chain = keys.make(tmp_path, "job2", trusted, [uri])
    disguised = keys.make(tmp_path, "job3", (state / "job-ca.pem", state / "job-ca.key"), [ADMIN])
    assert control(site, own_chain) in ("tls", 401) and control(site, disguised) in ("tls", 401)
    assert control(site, operators_chain) in (401, 403)
    for path in ("/healthz", path_of("SubNetwork=1"), "/muster/v1/functions"):
        assert outcome(site, own_chain, "GET", path) in ("tls", 401)
        assert outcome(site, disguised, "GET", path) in ("tls", 401)
        assert outcome(site, operators_chain, "GET", path) in (401, 403)


def test_a_function_is_no_consumer(site):
    state = site.folder / "functions" / "gnb-1"
    pair = state / "certificate.pem", state / "key.pem"
    assert outcome(site, pair, "GET", path_of("SubNetwork=1")) == 403
    assert outcome(site, pair, "POST", "/muster/v1/tokens", {"dn": function_dn("x")}) == 403


# Enrolment.


@pytest.fixture
def enrolling(site):
    """Starts a function that must end by itself, and gives its exit code and its log."""
    def start(name, **changes):
        program = site.start_function(name, **changes)
        try:
            code, _ = program.wait(20.0)
        finally:
            program.stop()
            site.functions.pop(name)
        return code, program.words()
    return start


def enrolment(site, token, fingerprint=None):
    return {"token": token, "authority_fingerprint": fingerprint or site.authority.fingerprint}


def test_token_is_for_one_function_only(site, enrolling):
    code, words = enrolling("thief", enrolment=enrolment(site, site.token(function_dn("owner"))))
    assert code == 2 and "enrolment" in words, words
    assert function_dn("thief") not in site.client().objects()


def test_token_works_once(site):
    """The same key may ask again, since an answer may be lost; another key may not."""
    dn = function_dn("once")
    token = site.token(dn)
    anybody = Client(site.address, site.authority.certificate)

    def enrol(csr, **changes):
        body = {"token": token, "dn": dn, "csr": csr, **changes}
        return anybody.request("POST", "/muster/v1/enrolment", body)

    first, _ = keys.request(function_uri(dn))
    second, _ = keys.request(function_uri(dn))
    assert enrol(first, dn=function_dn("other")).status == 403
    answer = enrol(first)
    assert answer.status == 200 and keys.names_in(answer.body["certificate"]) == [function_uri(dn)], answer.words()
    assert enrol(first).body == answer.body
    refused = enrol(second)
    assert refused.status == 409 and "certificate" not in refused.body, refused.words()
    assert enrol(second, token="0" * 64).status == 401
    assert last_audit(site, operation="POST", object="/muster/v1/enrolment", outcome="refused")["reason"]


def test_the_name_is_the_tokens_whatever_the_request_says(site):
    dn = function_dn("named")
    csr, _ = keys.request(ADMIN)
    answer = Client(site.address, site.authority.certificate).request(
        "POST", "/muster/v1/enrolment", {"token": site.token(dn), "dn": dn, "csr": csr})
    assert answer.status == 200 and keys.names_in(answer.body["certificate"]) == [function_uri(dn)]


def test_expired_token(site):
    dn = function_dn("late")
    answer = site.client().request("POST", "/muster/v1/tokens", {"dn": dn, "lifetime_seconds": 1})
    ends = datetime.datetime.fromisoformat(answer.body["expires"].replace("Z", "+00:00"))
    wait_for("the token's end", lambda: datetime.datetime.now(datetime.timezone.utc) > ends)
    csr, _ = keys.request(function_uri(dn))
    late = Client(site.address, site.authority.certificate).request(
        "POST", "/muster/v1/enrolment", {"token": answer.body["token"], "dn": dn, "csr": csr})
    assert late.status == 403 and "expired" in late.words()


def test_function_with_a_wrong_fingerprint_sends_no_token(site, enrolling):
    token = site.token(function_dn("pinned"))
    code, words = enrolling("pinned", enrolment=enrolment(site, token, "0" * 64))
    assert code == 2 and "fingerprint" in words, words
    csr, _ = keys.request(function_uri(function_dn("pinned")))  # so it is unused
    assert Client(site.address, site.authority.certificate).request(
        "POST", "/muster/v1/enrolment", {"token": token, "dn": function_dn("pinned"), "csr": csr}).status == 200


def test_function_without_a_certificate_or_token(enrolling, site):
    code, words = enrolling("bare", enrolment=None)
    assert code == 2 and "muster function enroll" in words, words


def test_function_of_another_ca_never_connects(site, foreign):
    """Neither does it trust the producer, nor the producer it."""
    certificate, key = foreign.issue(foreign.folder / "gnb-7", "--function", function_dn("gnb-7"))
    for trust in (foreign.certificate, site.authority.certificate):
        program = site.start_function("gnb-7", enrolment=None, credentials={
            "certificate": str(certificate), "key": str(key), "authority": str(trust)})
        try:
            wait_for("the agent's warning", lambda: "certificate" in program.words() or not program.running())
            assert function_dn("gnb-7") not in site.connected()
        finally:
            program.stop()
            site.functions.pop("gnb-7")


def test_enrolled_keys_are_private(site):
    for name in ("gnb-1", "gnb-2", "nwdaf-1"):
        assert stat.S_IMODE((site.folder / "functions" / name / "key.pem").stat().st_mode) == 0o600
    for path in (site.folder / "ca" / "ca.key", site.folder / "admin.key", site.folder / "state" / "job-ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_operators_own_ca_works_without_enrolment(site, trusted, tmp_path):
    certificate, key = keys.make(tmp_path, "gnb-8", trusted, [function_uri(function_dn("gnb-8"))])
    program = site.start_function("gnb-8", enrolment=None, credentials={
        "certificate": str(certificate), "key": str(key), "authority": str(site.authority.certificate)}, data=[])
    try:
        site.wait_connected("gnb-8")
    finally:
        program.stop()
        site.functions.pop("gnb-8")
    wait_for("the function is gone", lambda: function_dn("gnb-8") not in site.connected())
