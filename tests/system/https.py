"""HTTPS as any consumer of the producer would speak it, with a certificate of its own."""
import dataclasses
import http.client
import json
import ssl
import urllib.parse

FLAT = "application/vnd.3gpp.object-tree-flat+json"
TREE = "application/vnd.3gpp.object-tree-hierarchical+json"
MERGE = "application/merge-patch+json"


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: object  # parsed JSON, text when it is none, None when empty
    raw: bytes

    def problem_places(self):
        return self.body.get("badAttributes", []) + self.body.get("badQueryParams", [])

    def words(self):
        """Everything the body says, for messages and for looking things up."""
        return json.dumps(self.body)


def path_of(dn):
    return "/ProvMnS/v1/" + "/".join(urllib.parse.quote(part, safe="=-._~") for part in dn.split(","))


class Client:
    """HTTPS as any consumer would speak it; one connection for each request."""

    def __init__(self, address, authority, certificate=None, key=None):
        url = urllib.parse.urlsplit(address)
        self.host, self.port = url.hostname, url.port
        self.context = ssl.create_default_context(cafile=str(authority))
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate:
            self.context.load_cert_chain(str(certificate), str(key))

    def request(self, method, path, body=None, headers=None, seconds=20.0):
        """`body`: bytes are sent as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=seconds)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        parsed = None
        if raw:
            try:
                parsed = json.loads(raw)
            except ValueError:
                parsed = raw.decode(errors="replace")
        return Answer(response.status, response.headers, parsed, raw)

    def get(self, dn, scope=None, accept=FLAT, query=""):
        if scope:
            query = "?" + urllib.parse.urlencode({"scope": json.dumps(scope)})
        return self.request("GET", path_of(dn) + query, headers={"Accept": accept})

    def objects(self, dn="SubNetwork=1"):
        """{DN: attributes} of an object and all below it."""
        answer = self.get(dn, {"scopeType": "BASE_ALL"})
        assert answer.status == 200, answer.words()
        return {each["objectInstance"]: each["attributes"] for each in answer.body}

    def put(self, dn, attributes, **changes):
        name, identity = dn.rsplit(",", 1)[-1].split("=", 1)
        return self.request("PUT", path_of(dn), {"id": identity, "objectClass": name, "attributes": attributes, **changes})

    def patch(self, dn, attributes):
        body = {"id": dn.rsplit("=", 1)[-1], "attributes": attributes}
        return self.request("PATCH", path_of(dn), body, {"Content-Type": MERGE})

    def delete(self, dn):
        return self.request("DELETE", path_of(dn))
