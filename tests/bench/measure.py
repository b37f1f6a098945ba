"""What the cases share: rows, the programs that are measured, and fair turns."""
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = ROOT / "tests" / "bench"
BIN = pathlib.Path(os.environ.setdefault("MUSTER_BIN", str(ROOT / "build" / "release" / "bin")))
EXAMPLE = ROOT / "examples" / "ue-delay"
RUN_SECONDS = 600


@dataclasses.dataclass
class Row:
    """One figure, or why there is none. Say at most one of at_most/at_least for the value or for the ratio."""
    case: str
    value: float | None
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    value_at_most: float | None = None
    value_at_least: float | None = None
    ratio_at_most: float | None = None
    ratio_at_least: float | None = None
    skipped: str | None = None

    @classmethod
    def skip(cls, case, reason):
        """A case that cannot be measured here."""
        return cls(case, None, "", skipped=reason)

    @property
    def ratio(self):
        return self.value / self.reference_value if self.reference_value else None

    def _limits(self):
        return [(f"{name} {sign} {limit:g}", found is not None and fits(found, limit))
                for name, sign, found, limit, fits in (
                    ("value", "<=", self.value, self.value_at_most, lambda a, b: a <= b),
                    ("value", ">=", self.value, self.value_at_least, lambda a, b: a >= b),
                    ("ratio", "<=", self.ratio, self.ratio_at_most, lambda a, b: a <= b),
                    ("ratio", ">=", self.ratio, self.ratio_at_least, lambda a, b: a >= b)) if limit is not None]

    @property
    def target(self):
        return " and ".join(text for text, _ in self._limits()) or None

    @property
    def holds(self):
        limits = self._limits()
        return all(holds for _, holds in limits) if limits else None

    def to_json(self):
        return {"case": self.case, "value": self.value, "unit": self.unit, "reference": self.reference,
                "reference_value": self.reference_value, "ratio": self.ratio, "target": self.target,
                "holds": self.holds} | ({"skipped": self.skipped} if self.skipped else {})


def run_json(*command, cwd=None):
    """Runs a program that prints JSON to stdout; its stderr is shown only when it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=RUN_SECONDS, cwd=cwd)
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-4000:])
        raise RuntimeError(f"{command[0]} ended with {done.returncode}")
    return json.loads(done.stdout)


def python_json(script, *arguments):
    return run_json(sys.executable, BENCH / script, *arguments)


def in_turns(times, *measurements):
    """Calls each measurement `times` times in turns (A B A B), so that a change of the machine meets all alike.
    Gives their medians."""
    found = [[] for _ in measurements]
    for _ in range(times):
        for results, measurement in zip(found, measurements):
            results.append(measurement())
    return [statistics.median(results) for results in found]


def hidden_text(hidden):
    return ",".join(map(str, hidden))
