"""What a program can check of the documentation: links, folders, threads, settings, message members, schemas."""
import json
import pathlib
import re
import subprocess

import jsonschema
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[[^\]\[]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`[^`\n]*`")
THREAD = re.compile(r"\bstd::j?thread\b\s*(?:[{(]|\w+_?\s*[;{=]|>\s*\w+)|std::async|boost::asio::thread_pool\s+\w+;")
WORKPLACE = re.compile(r"(?<![\w.}\"'/-])/(?:work|tmp/b)/")


def tracked(*patterns):
    """Tracked files that are there, and new ones that nobody ignores."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
                            cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def pages():
    return tracked("*.md")


def text_of(name):
    return (ROOT / name).read_text()


def anchor(heading):
    """The name that a heading gets on the usual hosts."""
    plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return plain.replace(" ", "-")


def test_links_resolve():
    broken = []
    for page in pages():
        text = CODE_SPAN.sub("", CODE_BLOCK.sub("", page.read_text()))
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
            elif fragment and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                if fragment not in {anchor(heading) for heading in headings}:
                    broken.append(f"{page.relative_to(ROOT)}: {target} (no such heading)")
    assert not broken, "\n".join(broken)


def test_files_that_are_named_exist():
    """`folder/file.ext` in the documents is a file below the root, src/ or src/app/."""
    name = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:h|cpp|py|sh|cmake|md|json|yaml|txt))`")
    ours = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/", "api/")
    missing = []
    for page in pages():
        relative = str(page.relative_to(ROOT))
        if not relative.startswith(ours):
            continue
        for found in name.findall(page.read_text()):
            if re.match(r"\.|[A-Z]+/|torch/", found) or re.search(r"NAME|NNNN", found):
                continue  # of a user, of libtorch, or a pattern
            if not any((base / found).exists() for base in (ROOT, ROOT / "src", page.parent)):
                missing.append(f"{relative}: {found}")
    assert not missing, "\n".join(missing)


def test_every_folder_is_in_the_architecture():
    page = text_of("ARCHITECTURE.md")
    folders = [path.parent.name for path in (ROOT / "src").glob("*/CMakeLists.txt")]
    assert folders
    missing = [name for name in folders if not re.search(rf"^\| \d \| `{name}` \|", page, re.MULTILINE)]
    assert not missing, f"ARCHITECTURE.md, The house: no row for {missing}"


def test_floors_are_those_of_the_house():
    drawn = subprocess.run(["python3", "tools/house.py", "src"], cwd=ROOT, capture_output=True, text=True, check=False)
    floors = {name: number for number, line in re.findall(r"^floor (\d+): (.*)$", drawn.stdout, re.MULTILINE)
              for name in line.split()}
    written = {name: number for number, name in re.findall(r"^\| (\d) \| `(\w+)` \|", text_of("ARCHITECTURE.md"), re.MULTILINE)}
    wrong = {name: (written.get(name), floor) for name, floor in floors.items() if written.get(name) != floor}
    assert not wrong, f"folder: (ARCHITECTURE.md, tools/house.py): {wrong}"


def test_every_thread_is_listed():
    page = text_of("docs/threads.md")
    missing = []
    for file in tracked("src/*.h", "src/*.cpp"):
        name = str(file.relative_to(ROOT / "src"))
        if re.search(r"_test\.cpp$|_fixture\.h$|test_|loopback_groups|relay\.h$|_probe|_driver|bench", name):
            continue
        code = re.sub(r"//.*", "", file.read_text())
        if THREAD.search(code) and name not in page and name.replace(".h", ".cpp") not in page:
            missing.append(name)
    assert not missing, f"docs/threads.md does not name {missing}"


@pytest.mark.parametrize("source, heading", [
    ("src/app/muster/producer_config.cpp", "producer.yaml"),
    ("src/app/muster/function_config.cpp", "function.yaml"),
    ("src/app/muster/client.cpp", "client.yaml"),
    ("src/auth/policy.cpp", "policy.yaml")])
def test_every_setting_is_documented(source, heading):
    """Keys are what the parsers ask wire::Fields for."""
    file = ROOT / source
    if not file.exists():
        pytest.skip(f"{source} is not there")
    code = file.read_text()
    keys = set(re.findall(r"\.(?:text|texts|integer|integers|real|boolean|choice<[\w:]+>|child|children|raw|has)\(\s*\"(\w+)\"", code))
    keys |= set(re.findall(r"(?:read_seconds|read_credential_files|one_or_more)\(\w+, \"(\w+)\"", code))
    assert keys
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text_of("docs/operating.md"), re.MULTILINE | re.DOTALL)
    assert section, f"docs/operating.md has no section {heading}"
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", section.group(1)))))
    assert not keys - words, f"docs/operating.md, {heading}: {sorted(keys - words)} are not explained"


def structs():
    """{struct: [members]} of the JSON macros."""
    macro = re.compile(r"NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE\(\s*(\w+),([^)]*)\)")
    return {name: [member.strip() for member in members.split(",")]
            for name, members in macro.findall(text_of("src/wire/structs.h"))}


def test_every_message_and_member_is_documented():
    page = text_of("api/control-channel.md")
    words = set(re.findall(r"`(\w+)`", page))
    known = structs()
    missing = [f"{name}.{member}" for name, members in known.items() for member in members
               if not name.startswith("Plan") and member not in words]
    assert not missing, f"api/control-channel.md does not explain {missing}"
    names = re.search(r"to_function_names\{(.*?)\};.*?from_function_names\{(.*?)\};", text_of("src/wire/messages.cpp"), re.DOTALL)
    types = re.findall(r'"(\w+)"', names.group(1) + names.group(2))
    assert len(types) >= 20
    absent = [each for each in types if not re.search(rf"^\| `{each}` \|", page, re.MULTILINE)]
    assert not absent, f"api/control-channel.md has no row for {absent}"


def recipe_schema():
    return json.loads(text_of("api/recipe.schema.json"))


def yaml_1_2(file):
    """Parses numbers as our programs do (YAML 1.2: 1e-3 is a number)."""
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789"))
    return yaml.load(file.read_text(), Loader)


def test_example_recipes_fit_the_schema():
    schema = recipe_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    recipes = [file for file in tracked("examples/*.yaml", "recipes/*.yaml") if not file.name.endswith("request.yaml")]
    assert recipes
    for file in recipes:
        jsonschema.Draft7Validator(schema).validate(yaml_1_2(file))


def test_recipe_schema_has_the_keys_of_the_parser():
    def keys_of(schema):
        for name, value in schema.get("properties", {}).items():
            yield name
            yield from keys_of(value)

    parser = text_of("src/wire/recipe.cpp") + text_of("src/wire/recipe_data.cpp")
    asked = set(re.findall(r"fields\.(?:text|texts|integer|integers|real|boolean|raw|choice<\w+>|child)\(\s*\"(\w+)\"", parser))
    assert set(keys_of(recipe_schema())) == asked


@pytest.mark.parametrize("change, good", [
    ({}, True), ({"loss": "huber"}, False), ({"colour": 1}, False), ({"metrics": ["accuracy"]}, False),
    ({"metrics": ["mae"]}, True), ({"optimizer": {"momentum": 0.9}}, False),
    ({"optimizer": {"name": "sgd", "momentum": 0.9}}, True), ({"model": {"hidden": []}}, True), ({"batch": 0}, False),
    ({"model": {"layers": 2}}, False), ({"model": {"family": "transformer", "hidden": [8]}}, False),
    ({"data": {"source": "s"}}, False), ({"data": {"source": "s", "target": "y", "text": {}}}, False),
    ({"data": {"source": "s", "text": {"unit": "byte"}}, "model": {"family": "transformer", "layers": 2}, "loss": "cross_entropy"}, True),
    ({"model": {"family": "torchscript", "archive": {"sha256": "a" * 64, "bytes": 1}}}, True),
    ({"model": {"family": "gbdt", "trees": 5}}, True), ({"model": {"family": "gbdt", "hidden": [8]}}, False),
    ({"model": {"family": "gbdt"}, "batch": 5}, False), ({"model": {"trees": 5}}, False),
    ({"model": {"family": "gbdt"}, "loss": "poisson"}, True), ({"loss": "poisson"}, False),
    ({"loss": "quantile", "quantile": 0.9}, True), ({"loss": "quantile"}, False), ({"quantile": 0.9}, False),
    ({"model": {"family": "torchscript"}}, False), ({"model": {"archive": {"sha256": "a" * 64, "bytes": 1}}}, True),
    ({"model": {"family": "mlp", "archive": {"sha256": "a" * 64, "bytes": 1}}}, False),
    ({"data": {"source": "s", "text": {"unit": "word"}}, "model": {"family": "transformer"}, "loss": "cross_entropy"}, False)])
def test_recipe_schema_judges_as_the_parser_does(change, good):
    """The verdicts are those of src/wire/wire_test.cpp and src/model/recipe.cpp."""
    recipe = {"name": "r", "data": {"source": "s", "target": "y"}, "loss": "l1", **change}
    assert jsonschema.Draft7Validator(recipe_schema()).is_valid(recipe) == good


def test_no_placeholder_is_left():
    left = [f"{page.relative_to(ROOT)}: {found}" for page in pages()
            for found in re.findall(r"@@\w*@@|\bTBD\b|\bFIXME\b|<!-- demo transcript -->", page.read_text())
            if not (page.name == "README.md" and found.startswith("<!--"))]
    assert not left, "\n".join(left)


def test_no_path_of_a_machine():
    found = []
    for file in tracked():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        if file == pathlib.Path(__file__).resolve():
            continue
        found += [f"{file.relative_to(ROOT)}:{number}" for number, line in enumerate(text.splitlines(), 1)
                  if WORKPLACE.search(line)]
    assert not found, "\n".join(found)


def test_decisions_are_numbered_without_gap():
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(name[:4]) for name in names if re.match(r"\d{4}-", name)]
    assert numbers == list(range(1, len(names) + 1)), names
    for name in names:
        text = text_of(f"docs/decisions/{name}")
        assert text.startswith(f"# {name[:4]} "), name
        for part in ("**Context.**", "**Choice.**", "**Given up.**", "**Look again**"):
            assert part in text, f"{name}: no {part}"


def test_examples_of_settings_are_yaml():
    """The YAML blocks of the documents parse, and their keys are those of the tables."""
    for page, key in (("docs/operating.md", "listen"), ("docs/operating.md", "dn"), ("docs/security.md", "rules")):
        blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)]
        assert any(key in block for block in blocks), f"{page}: no example with {key}"


def test_every_route_is_documented():
    page = text_of("api/http.md")
    table = re.findall(r'Route\{"([A-Z]+)", "([^"]+)"', text_of("src/rest/routes.cpp"))
    assert len(table) > 15
    missing = []
    for method, pattern in table:
        if pattern.startswith("/ProvMnS/v1"):
            documented = re.search(rf"^\| {method} \|", page, re.MULTILINE) or f"{method} `{pattern}`" in page
        else:
            path = re.sub(r"\\\{\\\}", r"\\{[^}]*\\}", re.escape(pattern))
            row = re.search(rf"^\|[^|]*`{path}`.*?(?=^\| `|\Z)", page, re.MULTILINE | re.DOTALL)
            documented = row and re.search(rf"\b{method}\b", row.group(0))
        if not documented:
            missing.append(f"{method} {pattern}")
    assert not missing, f"api/http.md does not have {missing}"
