"""Muster's real programs on this machine: a CA, a producer on a free port, functions, and HTTPS clients.

Everything lives in a folder of the test. Processes are ended by their id; whatever they leave behind becomes a child of
the tests (they are the subreaper), so nothing can hide.
"""
import contextlib
import ctypes
import dataclasses
import http.client
import json
import os
import pathlib
import random
import signal
import ssl
import subprocess
import time
import urllib.parse

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MUSTER_BIN", ROOT / "build" / "release" / "bin"))
OWN = "SubNetwork=1,MLTrainingFunction=mlt"  # the producer's entry for requests
REPOSITORY = "SubNetwork=1,MLModelRepository=1"
FLAT = "application/vnd.3gpp.object-tree-flat+json"
TREE = "application/vnd.3gpp.object-tree-hierarchical+json"
MERGE = "application/merge-patch+json"
START_SECONDS = 20.0
STOP_SECONDS = 15.0
JOB_SECONDS = 60.0
PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    """Orphans of our processes become our own children instead of init's."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def wait_for(what, condition, seconds=START_SECONDS, every=0.05):
    """Asks `condition` until it gives something true, and gives that. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(every)  # another process is asked again, it does not call


# --- processes ---------------------------------------------------------------------------------------------------


def process_table():
    """{pid: (parent, state, name)} of all processes."""
    table = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        table[int(entry.name)] = (int(rest[1]), rest[0], name)
    return table


def descendants(pid, name=None):
    """Ids of living processes below `pid`, only those called `name` if given. Zombies are no longer alive."""
    table = process_table()
    found, front = [], [pid]
    while front:
        parent = front.pop()
        for child, (its_parent, state, its_name) in table.items():
            if its_parent == parent:
                front.append(child)
                if state != "Z" and name in (None, its_name):
                    found.append(child)
    return found


def alive(pid):
    return process_table().get(pid, (0, "Z", ""))[1] != "Z"


def reap_orphans(known):
    """Collects ended children that subprocess does not know of."""
    for pid, (parent, state, _) in process_table().items():
        if parent == os.getpid() and state == "Z" and pid not in known:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


class Program:
    """A running `muster` with its log; ends with its context."""

    def __init__(self, log, *arguments, cwd=None, environment=None):
        self.log = pathlib.Path(log)
        self.arguments = [str(BIN / "muster"), *map(str, arguments)]
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=cwd,
                env={**os.environ, **(environment or {})}, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def children(self, name=None):
        return descendants(self.pid, name)

    def wait(self, seconds=STOP_SECONDS):
        """Gives (exit code, what it wrote to stdout)."""
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output.decode()

    def kill(self):
        """kill -9, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self):
        """Asks it to end; kills it and what it has started when it does not. Gives the exit code."""
        if self.process.returncode is not None:
            return self.process.returncode
        below = self.children()
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            code, _ = self.wait()
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            code, _ = self.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
        reap_orphans({self.pid})
        return code

    def words(self):
        return self.log.read_text(errors="replace")


def muster(*arguments, client=None, cwd=None, seconds=60.0, input=None):
    """Runs a verb to its end. Gives the completed process with text in stdout and stderr."""
    environment = {key: value for key, value in os.environ.items() if key != "MUSTER_CLIENT"}
    environment["HOME"] = str(cwd or "/nonexistent")
    if client:
        environment["MUSTER_CLIENT"] = str(client)
    return subprocess.run([BIN / "muster", *map(str, arguments)], capture_output=True, text=True, timeout=seconds,
                          cwd=cwd, env=environment, input=input)


def muster_json(*arguments, **options):
    done = muster(*arguments, "--output", "json", **options)
    assert done.returncode == 0, f"{arguments}: exit {done.returncode}: {done.stderr}"
    return json.loads(done.stdout)


# --- HTTPS -------------------------------------------------------------------------------------------------------


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


# --- a site ------------------------------------------------------------------------------------------------------

POLICY = {"rules": [
    {"who": "muster://consumer/admin", "on": "SubNetwork=1",
     "may": ["create", "read", "update", "delete", "subscribe", "recipe", "model_download", "plan", "admin"]},
    {"who": "muster://consumer/viewer", "on": "SubNetwork=1", "may": ["read"]}]}

# Short where a test waits for the end of it.
TIMES = {"propose_wait_seconds": 2, "agreement_wait_max_seconds": 4, "gather_wait_seconds": 2, "lease_seconds": 10,
         "reconnect_wait_seconds": 5, "adopt_wait_seconds": 15}


def function_dn(name):
    return f"SubNetwork=1,ManagedElement={name},MLTrainingFunction=1"


class Authority:
    """A CA made by `muster ca`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.fingerprint = muster_json("ca", "init", "--dir", self.folder)["fingerprint"]
        self.certificate = self.folder / "ca.pem"

    def issue(self, out, *arguments):
        """Gives the paths (certificate, key)."""
        made = muster_json("ca", "issue", "--dir", self.folder, "--out", out, *arguments)
        return pathlib.Path(made["certificate"]), pathlib.Path(made["key"])


class Site:
    """A producer with its functions and their keys, in a folder."""

    def __init__(self, folder, sources, state=None, authority=None, producer=None):
        """`sources`: {name: file} every function holds unless told otherwise; `state`: folder of the producer's state;
        `authority`: a CA in folder/ca that is there already; `producer`: more of producer.yaml."""
        self.folder = pathlib.Path(folder)
        self.state = pathlib.Path(state or self.folder / "state")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sources = sources
        self.authority = authority or Authority(self.folder / "ca")
        self.authority.issue(self.folder / "producer", "--producer", OWN, "--host", "127.0.0.1")
        for name in ("admin", "viewer", "stranger"):
            self.authority.issue(self.folder / name, "--consumer", name)
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(POLICY))
        self.configuration = {
            "listen": {"address": "127.0.0.1", "port": 0}, "state": str(self.state),
            "credentials": {"certificate": "producer.pem", "key": "producer.key", "authority": "ca/ca.pem"},
            "enrolment": {"certificate": "ca/ca.pem", "key": "ca/ca.key"},
            "policy": "policy.yaml", "times": TIMES, **(producer or {})}
        self.functions = {}
        self.producer = None
        self.address = None

    # The producer.

    def start_producer(self):
        """On a free port at first, afterwards on the same one."""
        address_file = self.state / "address"
        address_file.unlink(missing_ok=True)
        (self.folder / "producer.yaml").write_text(yaml.safe_dump(self.configuration))
        self.producer = Program(self.folder / "producer.log", "producer", "--config", self.folder / "producer.yaml")

        def started():
            if not self.producer.running():
                raise AssertionError(f"the producer ended: {self.producer.words()[-2000:]}")
            return address_file.exists() and address_file.read_text()

        self.address = wait_for("the producer's start", started)
        self.configuration["listen"]["port"] = urllib.parse.urlsplit(self.address).port
        for name in ("admin", "viewer", "stranger"):
            self.client_file(name)
        return self

    def client_file(self, name):
        """client.yaml of a consumer."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"server": self.address, "certificate": f"{name}.pem", "key": f"{name}.key",
                                        "authority": "ca/ca.pem"}))
        return path

    def client(self, name="admin"):
        return Client(self.address, self.authority.certificate, self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def run(self, *arguments, name="admin", **options):
        """A verb of the command line as the consumer `name`."""
        return muster(*arguments, client=self.client_file(name), cwd=self.folder, **options)

    def run_json(self, *arguments, name="admin", **options):
        return muster_json(*arguments, client=self.client_file(name), cwd=self.folder, **options)

    # Functions.

    def token(self, dn):
        return self.run_json("function", "enroll", "--dn", dn)["token"]

    def function_file(self, name, **changes):
        """function.yaml; `changes` replace its keys, None removes one."""
        configuration = {
            "dn": function_dn(name), "producer": self.address, "state": f"functions/{name}",
            "capacity": {"cpu_cores": 0.5, "bandwidth_mbit": 1000}, "times": {"worker_lease_seconds": 6},
            "data": [{"name": source, "file": str(file)} for source, file in self.sources.items()], **changes}
        if "enrolment" not in configuration:
            configuration["enrolment"] = {"token": self.token(configuration["dn"]),
                                          "authority_fingerprint": self.authority.fingerprint}
        path = self.folder / f"{name}.function.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in configuration.items() if value is not None}))
        return path

    def start_function(self, name, **changes):
        path = self.function_file(name, **changes)
        self.functions[name] = Program(self.folder / f"{name}.log", "function", "--config", path)
        return self.functions[name]

    def again(self, name):
        """Starts a function that has ended, with the configuration and the keys that it had."""
        path = self.folder / f"{name}.function.yaml"
        self.functions[name] = Program(self.folder / f"{name}.log", "function", "--config", path)
        return self.functions[name]

    def connected(self):
        answer = self.client().request("GET", "/muster/v1/functions")
        return {each["dn"]: each for each in answer.body if each["connected"]}

    def wait_connected(self, *names, free=True):
        """Until these functions (default: all) are connected, and in no job."""
        wanted = [function_dn(name) for name in names or self.functions]

        def ready():
            for name, program in self.functions.items():
                assert program.running() or function_dn(name) not in wanted, \
                    f"{name} ended: {program.words()[-2000:]}"
            now = self.connected()
            return all(dn in now and not (free and (now[dn]["busy"] or now[dn].get("job"))) for dn in wanted)

        wait_for(f"{wanted} connected and free", ready, 40.0)
        return self

    # Jobs.

    def add_recipe(self, recipe):
        answer = self.client().request("POST", "/muster/v1/recipes", recipe)
        assert answer.status == 201, answer.words()
        return answer.body

    def submit(self, identity, client=None, **changes):
        answer = (client or self.client()).put(request_dn(identity), request_attributes(**changes))
        assert answer.status in (200, 201), answer.words()
        return request_dn(identity)

    def process(self, identity):
        """Attributes of the process of a request, {} while there is none."""
        answer = self.client().get(process_dn(identity))
        return answer.body[0]["attributes"] if answer.status == 200 else {}

    def status(self, identity):
        return self.process(identity).get("progressStatus", {}).get("status")

    def reason(self, identity):
        return self.process(identity).get("progressStatus", {}).get("resultStateInfo", "")

    def container(self, dn, name):
        answer = self.client().get(f"{dn},VsDataContainer={name}")
        return answer.body[0]["attributes"]["vsData"] if answer.status == 200 else {}

    def wait_status(self, identity, *wanted, seconds=JOB_SECONDS):
        """Waits for one of `wanted`, and fails at once when the process ends otherwise."""
        def there():
            now = self.status(identity)
            if now in ("FINISHED", "CANCELLED") and now not in wanted:
                raise AssertionError(f"{identity} is {now}: {self.reason(identity)}")
            return now if now in wanted else None
        return wait_for(f"{identity} being {wanted}", there, seconds)

    def wait_training(self, identity, seconds=JOB_SECONDS):
        """Waits until steps have been made."""
        self.wait_status(identity, "RUNNING", seconds=seconds)
        wait_for(f"{identity} making steps",
                 lambda: self.container(process_dn(identity), "progress").get("step", 0) > 0, seconds)

    def cancel(self, identity):
        answer = self.client().patch(request_dn(identity), {"cancelRequest": True})
        assert answer.status == 200, answer.words()

    def workers(self):
        """Ids of the living workers of all functions."""
        return [pid for program in self.functions.values() for pid in program.children("muster-worker")]

    def audit(self):
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]

    def nothing_left(self, *names):
        """Every function is free and no worker, data process or job folder is left of a job."""
        self.wait_connected(*names)
        wait_for("workers ended", lambda: not self.workers())

    def stop(self):
        for program in [*self.functions.values(), *([self.producer] if self.producer else [])]:
            program.stop()

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
                         for path in sorted(self.folder.glob("*.log")))


# --- what is trained ---------------------------------------------------------------------------------------------


def request_dn(identity):
    return f"{OWN},MLTrainingRequest={identity}"


def process_dn(identity):
    return f"{OWN},MLTrainingProcess={identity}"


def report_dn(identity):
    return f"{OWN},MLTrainingReport={identity}"


def request_attributes(**changes):
    """Attributes of a good request; `changes` replace some, None removes one."""
    attributes = {
        "trainingRequestSource": "SubNetwork=1,ManagedElement=analytics", "aIMLInferenceName": "TINY_DELAY",
        "mLTrainingType": "INITIAL_TRAINING",
        "performanceRequirements": [
            {"inferenceOutputName": "delay", "performanceMetric": "MAE", "performanceScore": 1000.0}],
        "distributedTrainingExpectation": {"expectedTrainingTime": 5, "dataSplitIndication": True}, **changes}
    return {name: value for name, value in attributes.items() if value is not None}


def recipe(name="tiny", inference="TINY_DELAY", source="tiny/train", test="tiny/test", **changes):
    return {"name": name, "inference": inference,
            "data": {"source": source, "test": test, "target": "delay", "exclude": ["run"], "validation": 0.2},
            "model": {"family": "mlp", "hidden": [8]}, "loss": "l1",
            "optimizer": {"name": "adamw", "learning_rate": 0.01}, "batch": 64, "epochs": 2, "metrics": ["MAE", "R2"],
            **changes}


HEADER = "run,cell,load,speed,delay"


def rows(count, seed):
    """Lines of a small table: delay depends on load and cell; some loads are missing."""
    source = random.Random(seed)
    lines = []
    for index in range(count):
        cell, load, speed = source.choice(["a", "b", "c"]), source.uniform(0, 10), source.uniform(0, 120)
        delay = 20 + 3 * load + 5 * "abc".index(cell) + source.gauss(0, 1)
        lines.append(f"r{index},{cell},{'' if source.random() < 0.05 else f'{load:.4f}'},{speed:.2f},{delay:.4f}")
    return lines


def write_table(path, lines, header=HEADER):
    path = pathlib.Path(path)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path
