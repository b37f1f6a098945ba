"""The standard's OpenAPI files: one schema with everything it refers to, and what it says about each attribute.

The published files have mistakes that no object can live with; they are mended here, and only here:
  * oneOf -> anyOf. AIMLInferenceName is oneOf several enumerations and any string, trainingRequestSource is oneOf two
    strings, so every value of an enumeration matches twice and none is valid. anyOf is what is meant.
  * A reference to a file that is not in the folder (other NRM fragments) allows anything.
  * nullable (OpenAPI 3.0) becomes a choice with null.
"""
import pathlib
import re

import yaml

REFERENCE = re.compile(r"^([^#]*)#/components/schemas/(.+)$")
IGNORED = {"example", "xml", "externalDocs", "deprecated", "nullable", "discriminator", "description", "format"}


class Specification:
    """A folder of OpenAPI files."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.files = {}

    def file(self, name):
        if name not in self.files:
            path = self.folder / name
            self.files[name] = yaml.safe_load(path.read_text()) if path.exists() else None
        return self.files[name]

    def find(self, file, reference):
        """Returns (file, name, schema) that `reference`, read in `file`, points to; schema is None when missing."""
        target, name = REFERENCE.match(reference).groups()
        target = pathlib.PurePosixPath(target).name or file
        document = self.file(target)
        return target, name, document and document["components"]["schemas"].get(name)

    def bundle(self, file, name):
        """Returns one JSON Schema (draft 7) of `name` in `file` with everything it refers to."""
        definitions = {}
        root = self._define(f"{file}#/components/schemas/{name}", file, definitions)
        return {"$schema": "http://json-schema.org/draft-07/schema#", "allOf": [root], "definitions": definitions}

    def _define(self, reference, file, definitions):
        target, name, schema = self.find(file, reference)
        key = re.sub(r"\W", "_", f"{target}__{name}")
        if key not in definitions:
            definitions[key] = {}  # before descending: schemas refer to themselves
            if schema is not None:
                definitions[key] = self._convert(schema, target, definitions)
        return {"$ref": f"#/definitions/{key}"}

    def _convert(self, node, file, definitions):
        if isinstance(node, list):
            return [self._convert(item, file, definitions) for item in node]
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$ref"), str):
            return self._define(node["$ref"], file, definitions)
        converted = {}
        for key, value in node.items():
            if key in IGNORED:
                continue
            if key == "properties":
                converted[key] = {name: self._convert(each, file, definitions) for name, each in value.items()}
            elif key in ("enum", "required", "default"):
                converted[key] = value
            else:
                converted["anyOf" if key == "oneOf" else key] = self._convert(value, file, definitions)
        return {"anyOf": [{"type": "null"}, converted]} if node.get("nullable") else converted

    def attributes(self, file, name):
        """Returns {name: (file, schema)} of the attributes of a class given by its schema's name (.. -Single, -Attr)."""
        whole = self.properties(file, self.file(file)["components"]["schemas"][name])
        if name.endswith("-Attr"):
            return whole
        return self.properties(*whole["attributes"]) if "attributes" in whole else {}

    def properties(self, file, schema):
        """Returns {name: (file, schema)} of an object, through references and allOf."""
        if "$ref" in schema:
            file, _, schema = self.find(file, schema["$ref"])
            return self.properties(file, schema) if schema else {}
        found = {}
        for part in schema.get("allOf", []):
            for name, value in self.properties(file, part).items():
                if name in found and name == "attributes":
                    value = (file, {"allOf": [found[name][1], value[1]]})
                found[name] = value
        for name, value in schema.get("properties", {}).items():
            found[name] = (file, value)
        return found

    def describe(self, file, schema):
        """Returns what the file says about an attribute, in the words of muster_nrm_dump."""
        if "$ref" in schema:
            target, name, found = self.find(file, schema["$ref"])
            if found is None:
                return {"type": "unknown"}
            description = self.describe(target, found)
            if name in ("Dn", "DnRo"):
                description["type"] = "distinguished name"
            description["read_only"] = description["read_only"] or schema.get("readOnly", False)
            return description
        choices = schema.get("oneOf") or schema.get("anyOf")
        if choices:
            return self._describe_choice(file, schema, choices)
        if schema.get("type") == "array":
            description = self.describe(file, schema["items"])
            nested = description["list"]
            description |= {
                "list": True,
                "unique": schema.get("uniqueItems", False),
                "items_min": schema.get("minItems", 0),
                "items_max": schema.get("maxItems", 0),
                "read_only": schema.get("readOnly", False) or description["read_only"],
            }
            return description | ({"type": "any value", "values": [], "members": {}} if nested else {})
        return self._describe_single(file, schema)

    def _describe_single(self, file, schema):
        kind = schema.get("type")
        if kind == "string":
            kind = "enumeration value" if "enum" in schema else "string"
            kind = "date-time (RFC 3339)" if schema.get("format") == "date-time" else kind
        elif kind == "object" and "properties" not in schema:
            kind = "map of names to values"
        members = {}
        if kind == "object":
            members = {name: self.describe(*found) for name, found in self.properties(file, schema).items()}
        return {
            "type": kind or "any value",
            "list": False,
            "unique": False,
            "items_min": 0,
            "items_max": 0,
            "values": sorted(schema.get("enum", [])),
            "minimum": schema.get("minimum"),
            "maximum": schema.get("maximum"),
            "default": schema.get("default"),
            "required": sorted(schema.get("required", [])),
            "read_only": schema.get("readOnly", False) or (bool(members) and all(m["read_only"] for m in members.values())),
            "members": members,
        }

    def _describe_choice(self, file, schema, choices):
        """A choice of objects has all their members; of enumerations, all their values; any text includes all texts."""
        described = [self.describe(file, choice) for choice in choices]
        described = [each for each in described if each["type"] != "unknown"]
        merged = dict(described[0])
        kinds = {each["type"] for each in described}
        if kinds <= {"string", "enumeration value", "distinguished name"} and kinds != {"enumeration value"}:
            merged |= {"type": "string", "values": []}
        elif kinds == {"enumeration value"}:
            merged["values"] = sorted({value for each in described for value in each["values"]})
        elif kinds == {"integer", "number"}:
            merged |= {"type": "number", "minimum": None, "maximum": None}
        elif kinds == {"object"}:
            merged["members"] = {name: member for each in described for name, member in each["members"].items()}
        else:
            raise AssertionError(f"a choice of {kinds} is not understood")
        merged["read_only"] = schema.get("readOnly", False) or all(each["read_only"] for each in described)
        return merged
