"""Muster's real programs on this machine: a CA, a producer on a free port, functions, and HTTPS clients.

Everything lives in a folder of the test. This is the one module that tests import: what it takes from processes.py,
https.py and trained.py is meant for them too.
"""
import json
import pathlib
import urllib.parse

import yaml

from https import FLAT, MERGE, TREE, Answer, Client, path_of
from processes import (BIN, ROOT, START_SECONDS, STOP_SECONDS, Program, alive, become_subreaper, descendants, muster,
                       muster_json, orphans, process_table, reap_orphans, wait_for)
from trained import (HEADER, OWN, REPOSITORY, forecast_recipe, function_dn, process_dn, recipe, report_dn,
                     request_attributes, request_dn, rows, text_recipe, write_latin1, write_messages, write_office_table,
                     write_parts, write_series, write_table, write_text)

__all__ = ["BIN", "FLAT", "HEADER", "MERGE", "OWN", "REPOSITORY", "ROOT", "START_SECONDS", "STOP_SECONDS", "TREE",
           "Answer", "Authority", "Client", "Program", "Site", "alive", "become_subreaper", "descendants",
           "forecast_recipe", "function_dn", "muster", "muster_json", "orphans", "path_of", "process_dn",
           "process_table", "reap_orphans", "recipe", "report_dn", "request_attributes", "request_dn", "rows",
           "text_recipe", "wait_for", "write_latin1", "write_messages", "write_office_table", "write_parts", "write_series", "write_table",
           "write_text"]

JOB_SECONDS = 60.0

POLICY = {"rules": [
    {"who": "muster://consumer/admin", "on": "SubNetwork=1",
     "may": ["create", "read", "update", "delete", "subscribe", "recipe", "model_download", "plan", "admin", "revoke"]},
    {"who": "muster://consumer/viewer", "on": "SubNetwork=1", "may": ["read"]}]}

# Short where a test waits for the end of it.
TIMES = {"propose_wait_seconds": 2, "agreement_wait_max_seconds": 4, "gather_wait_seconds": 2, "lease_seconds": 10,
         "reconnect_wait_seconds": 5, "adopt_wait_seconds": 15}


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
        """Ids of the living workers of all functions, and of those that have outlived their agent."""
        own = [pid for program in self.functions.values() for pid in program.children("muster-worker")]
        return own + orphans("muster-worker")

    def audit(self):
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]

    def nothing_left(self, *names):
        """Every function is free and no worker, data process or job folder is left of a job."""
        self.wait_connected(*names)
        wait_for("workers ended", lambda: not self.workers())
        for name in names or self.functions:
            wait_for(f"job folders of {name} removed", lambda name=name: not self.job_folders(name))

    def job_folders(self, name):
        return list((self.folder / "functions" / name / "jobs").glob("*"))

    def stop(self):
        for program in [*self.functions.values(), *([self.producer] if self.producer else [])]:
            program.stop()

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
                         for path in sorted(self.folder.glob("*.log")))
