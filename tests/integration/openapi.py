"""openapi.py: the description of the interface, and whether a call and its answer are as it says.

Answers are taken more strictly than JSON Schema does: an object has no members but those that are
described, so that what is new in an answer is missed in the description.
"""

import copy
import json
import pathlib
import re
import urllib.parse

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not here")

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "tools" / "tekupd" / "api" / "openapi.json"


def close_objects(schema):
    """The same with every object that has properties closed."""
    if isinstance(schema, list):
        return [close_objects(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close_objects(part) for name, part in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


class Description:
    def __init__(self, document):
        self.document = document
        components = copy.deepcopy(document["components"])
        self.components = {False: components, True: {**components, "schemas": close_objects(components["schemas"])}}
        self.validators = {}
        self.seen = set()  # (method, path, status) of what was asked
        self.patterns = []
        for path in sorted(document["paths"], key=lambda path: "{" in path):
            parts = re.split(r"\{[^}]*\}", path)
            self.patterns.append((re.compile("[^/]+".join(map(re.escape, parts))), path))

    @classmethod
    def of_source(cls):
        return cls(json.loads(SOURCE.read_text()))

    def validate(self, schema, value, strict):
        key = id(schema), strict
        if key not in self.validators:
            whole = close_objects(schema) if strict else schema
            whole = {**whole, "components": self.components[strict]}
            self.validators[key] = schema, jsonschema.Draft202012Validator(whole)
        errors = list(self.validators[key][1].iter_errors(value))
        assert not errors, "\n".join(f"{'/'.join(map(str, e.absolute_path))}: {e.message[:500]}" for e in errors)

    def resolve(self, part):
        if "$ref" not in part:
            return part
        found = self.document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return found

    def find(self, path):
        for pattern, name in self.patterns:
            if pattern.fullmatch(path):
                return name
        return None

    def operations(self):
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation

    # ---- A call and its answer ----

    def check(self, method, target, headers, body, answer):
        path, _, query = target.partition("?")
        name = self.find(path)
        described = self.document["paths"].get(name, {})
        known = "get" if method == "HEAD" else method.lower()
        where = f"{method} {target[:200]} -> {answer}"
        if known not in described:
            refusals = (405, 401, 403, 503) if described else (404, 401, 403, 503)
            assert answer.status in refusals, where
            if answer.status == 405:
                assert allowed(answer) == {m.upper() for m in described} | ({"HEAD"} if "get" in described else set())
            self.check_refusal(path, answer, where, method)
            return
        operation = described[known]
        self.seen.add((known.upper(), name, answer.status))
        response = operation["responses"].get(str(answer.status))
        assert response is not None, f"not described: {where}"
        try:
            self.check_answer(self.resolve(response), answer, method)
            if answer.status < 300 and name != "/mcp":  # which answers with 200 that it is wrong
                self.check_query(operation, query)
                self.check_body(operation, headers, body)
        except AssertionError as error:
            raise AssertionError(f"{where}\n{error}") from None

    def check_refusal(self, path, answer, where, method):
        if method == "HEAD":
            return
        schema = {"$ref": "#/components/schemas/" + ("OldError" if path.startswith("/api/") else "Error")}
        self.validators.setdefault(("refusal", schema["$ref"]), schema)
        self.validate(self.validators["refusal", schema["$ref"]], answer.json, True)

    def check_answer(self, response, answer, method):
        for header in response.get("headers", {}):
            if header != "Tekup-Next":
                assert answer.headers[header], f"{header} is missing"
        content = response.get("content")
        if method == "HEAD":
            return
        if content is None:
            assert answer.body == b""
            return
        kind = answer.headers["Content-Type"]
        assert kind in content, f"{kind} is not described"
        schema = content[kind].get("schema")
        if schema is not None:
            self.validate(schema, answer.json if kind == "application/json" else answer.body.decode(), True)

    def check_query(self, operation, query):
        parameters = {p["name"]: p for p in operation.get("parameters", []) if p["in"] == "query"}
        given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        for name, parameter in parameters.items():
            assert name in given or not parameter.get("required"), f"{name} is missing"
        for name, value in given.items():
            assert name in parameters, f"the parameter {name} is not described"
            kind = parameters[name]["schema"]["type"]
            if kind in ("integer", "number", "boolean"):
                value = json.loads(value)
            self.validate(parameters[name]["schema"], value, False)

    def check_body(self, operation, headers, body):
        taken = operation.get("requestBody")
        if taken is None or body is None:
            assert taken is None or not taken["required"], "there was no body"
            return
        kind = headers.get("Content-Type", "application/json").split(";")[0].lower()
        assert kind in taken["content"], f"{kind} is not described"
        if kind == "application/json":
            self.validate(taken["content"][kind]["schema"], json.loads(body), False)

    def takes(self, method, path, body):
        """Whether a body is as the description wants it."""
        schema = self.document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
        try:
            self.validate(schema, body, False)
        except AssertionError:
            return False
        return True


def allowed(answer):
    return {method.strip() for method in answer.headers["Allow"].split(",")}
